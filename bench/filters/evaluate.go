package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/filter/learned"
)

// orders is over how many orders of the taught mail a figure is averaged.
const orders = 5

// evaluate prints the figures of the test half for the model as it is built in
// or, with a command, for any other filter.
func evaluate(command string, way bool) error {
	letters, err := readCorpus()
	if err != nil {
		return err
	}
	others, err := otherHam()
	if err != nil {
		return err
	}
	var training, test []*letter
	for _, l := range letters {
		if l.test {
			test = append(test, l)
		} else {
			training = append(training, l)
		}
	}
	fmt.Printf("training %s\ntest     %s\n", census(training), census(test))
	if command != "" {
		return evaluateCommand(command, way, training, test, others)
	}
	if err := isTrained(training); err != nil {
		return err
	}
	if err := evaluateTest(training, test); err != nil {
		return err
	}
	if err := evaluateOthers(training, others); err != nil {
		return err
	}
	return speed(test)
}

func census(letters []*letter) string {
	n, hard := [2]int{}, 0
	for _, l := range letters {
		n[class(l)]++
		if l.hard {
			hard++
		}
	}
	return fmt.Sprintf("%d wanted (%d of them advertising), %d spam", n[0], hard, n[1])
}

// isTrained tells when the built-in model is not the one that train makes.
func isTrained(training []*letter) error {
	made, err := train(training, defaults).MarshalBinary()
	if err != nil {
		return err
	}
	built, err := learned.DefaultSite().MarshalBinary()
	if err == nil && !bytes.Equal(made, built) {
		err = fmt.Errorf("the built-in model is not what train makes of this data")
	}
	fmt.Printf("model    %d tokens, %d octets\n\n", learned.DefaultSite().Len(), len(built))
	return err
}

func evaluateTest(training, test []*letter) error {
	fmt.Println("recall at 0.1 %, 0.5 % and 1 % of wanted mail taken for spam; their mean up to 2 %; by steps of the findings")
	site := learned.DefaultSite()
	results, err := classify(&learned.Model{Site: site}, "", test)
	if err != nil {
		return err
	}
	printLine("site alone", results)
	fmt.Println("and taught mail that the site's model was trained on, too:")
	for _, n := range taught {
		if err := average(site, n, []fold{{training, test}}); err != nil {
			return err
		}
	}
	a, b := split(test)
	fmt.Println("and taught new mail, one half of the test half, measured on the other, both ways:")
	for _, n := range []int{0, 10, 40, 100, 400, len(a)} {
		if err := average(site, n, []fold{{a, b}, {b, a}}); err != nil {
			return err
		}
	}
	return nil
}

// fold is mail to teach and mail to measure on.
type fold struct{ teach, check []*letter }

// split cuts in two, always in the same way.
func split(letters []*letter) (a, b []*letter) {
	for i, l := range shuffled(letters, 99) {
		if i%2 == 0 {
			a = append(a, l)
		} else {
			b = append(b, l)
		}
	}
	return a, b
}

// average measures with n messages taught, in several orders.
func average(site *learned.Site, n int, folds []fold) error {
	runs := make([][]scored, orders)
	for o := range orders {
		for _, f := range folds {
			m, err := teach(site, shuffled(f.teach, uint64(o)), n)
			if err != nil {
				return err
			}
			results, err := classify(m, "user", f.check)
			if err != nil {
				return err
			}
			runs[o] = append(runs[o], results...)
		}
	}
	printLine(fmt.Sprintf("  %4d taught", min(n, len(folds[0].teach))), runs...)
	return nil
}

// evaluateOthers counts the wanted mail of other sets that is taken for spam.
func evaluateOthers(training []*letter, others map[string][]*letter) error {
	fmt.Println("\nother wanted mail above 0.8, 0.9, 0.97: site alone; taught 400; mean knowledge")
	alone := &learned.Model{Site: learned.DefaultSite()}
	m, err := teach(learned.DefaultSite(), shuffled(training, 0), 400)
	if err != nil {
		return err
	}
	for _, set := range slices.Sorted(maps.Keys(others)) {
		line := fmt.Sprintf("%-12s %4d ", set, len(others[set]))
		for _, model := range []*learned.Model{alone, m} {
			results, err := classify(model, "user", others[set])
			if err != nil {
				return err
			}
			for _, p := range steps {
				n, _ := above(results, false, p)
				line += fmt.Sprintf(" %3d", n)
			}
			line += "  "
		}
		sum := 0.0
		for _, l := range others[set] {
			v, err := alone.Classify(context.Background(), "", l.tokens)
			if err != nil {
				return err
			}
			sum += v.Knowledge
		}
		fmt.Printf("%s %.2f\n", line, sum/float64(len(others[set])))
	}
	return nil
}

// speed measures one core from the octets of a message to its verdict.
func speed(letters []*letter) error {
	m := &learned.Model{Site: learned.DefaultSite()}
	octets, tokens := 0, 0
	var reading, taking, judging time.Duration
	for _, l := range letters {
		start := time.Now()
		msg, err := filter.FromBytes(filter.Envelope{}, l.raw)
		if err != nil {
			return err
		}
		read := time.Now()
		list := learned.Tokens(msg)
		took := time.Now()
		if _, err := m.Classify(context.Background(), "", list); err != nil {
			return err
		}
		judging += time.Since(took)
		taking += took.Sub(read)
		reading += read.Sub(start)
		octets += len(l.raw)
		tokens += len(list)
	}
	n := len(letters)
	fmt.Printf("\n%d messages of %d octets and %d tokens in the mean: read %s, tokens %s, verdict %s each; %.0f messages/s on one core without reading\n",
		n, octets/n, tokens/n, reading/time.Duration(n), taking/time.Duration(n), judging/time.Duration(n),
		float64(n)/(taking+judging).Seconds())
	return nil
}

// scoreFiles judges messages in files by the site, or by an account that was
// taught so many messages of the training half.
func scoreFiles(names []string, taught int) error {
	m := &learned.Model{Site: learned.DefaultSite()}
	if taught > 0 {
		letters, err := readCorpus()
		if err != nil {
			return err
		}
		letters = slices.DeleteFunc(letters, func(l *letter) bool { return l.test })
		if m, err = teach(m.Site, shuffled(letters, 0), taught); err != nil {
			return err
		}
	}
	for _, name := range names {
		raw, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		l := []*letter{{raw: raw}}
		if err := tokenize(l); err != nil {
			return err
		}
		v, err := m.Classify(context.Background(), "user", l[0].tokens)
		if err != nil {
			return err
		}
		fmt.Printf("%s %.6f\n  known %.2f, %s\n", name, v.Score, v.Knowledge, v)
	}
	return nil
}
