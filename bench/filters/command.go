package main

import (
	"bufio"
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// evaluateCommand measures any filter. The command is run by sh with the
// directories TRAIN/spam and TRAIN/ham in the environment variable TRAIN, and
// gets the names of the files to judge on its standard input, one a line. It
// prints lines of a file name and a score, higher for spam; other lines are
// passed over. What it takes before its first line counts as training.
func evaluateCommand(command string, way bool, training, test []*letter, others map[string][]*letter) error {
	dir, err := os.MkdirTemp("", "filters")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if _, err := put(filepath.Join(dir, "train"), training, way); err != nil {
		return err
	}
	sets := map[string]string{}
	files, err := put(filepath.Join(dir, "test"), test, way)
	if err != nil {
		return err
	}
	for set, letters := range others {
		more, err := put(filepath.Join(dir, set), letters, way)
		if err != nil {
			return err
		}
		for name := range more {
			sets[name] = set
		}
		maps.Copy(files, more)
	}
	scores, took, err := ask(command, filepath.Join(dir, "train"), slices.Sorted(maps.Keys(files)))
	if err != nil {
		return err
	}
	var results []scored
	byset := map[string][]float64{}
	for name, l := range files {
		score, ok := scores[name]
		switch {
		case !ok:
			return fmt.Errorf("the command said nothing of %s", name)
		case sets[name] != "":
			byset[sets[name]] = append(byset[sets[name]], score)
		default:
			results = append(results, scored{l, score})
		}
	}
	printCommand(results, byset)
	fmt.Printf("%.0f messages/s with its start\n", float64(len(files))/took.Seconds())
	return nil
}

// printCommand prints recall, and how much of the other sets lies above the
// thresholds that these limits need.
func printCommand(results []scored, byset map[string][]float64) {
	fmt.Println("wanted mail taken for spam, threshold, recall; of other sets taken for spam")
	for _, share := range limits {
		t := threshold(results, share)
		fmt.Printf("%.1f %%  %g  %.1f %%", 100*share, t, 100*recall(results, share))
		for _, set := range slices.Sorted(maps.Keys(byset)) {
			n := 0
			for _, s := range byset[set] {
				if s > t {
					n++
				}
			}
			fmt.Printf("  %s %d/%d", set, n, len(byset[set]))
		}
		fmt.Println()
	}
}

// put writes letters as files, and gives them by their names.
func put(dir string, letters []*letter, way bool) (map[string]*letter, error) {
	out := map[string]*letter{}
	for _, sub := range []string{"spam", "ham"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, err
		}
	}
	for i, l := range letters {
		name := filepath.Join(dir, []string{"ham", "spam"}[class(l)], strconv.Itoa(i))
		raw := l.raw
		if way {
			raw = l.way
		}
		if err := os.WriteFile(name, raw, 0o644); err != nil {
			return nil, err
		}
		out[name] = l
	}
	return out, nil
}

// ask runs the command and gives the scores by file name.
func ask(command, train string, names []string) (map[string]float64, time.Duration, error) {
	cmd := exec.Command("sh", "-c", command)
	cmd.Env = append(os.Environ(), "TRAIN="+train)
	cmd.Stdin = strings.NewReader(strings.Join(names, "\n") + "\n")
	cmd.Stderr = os.Stderr
	start := time.Now()
	out, err := cmd.Output()
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", command, err)
	}
	took := time.Since(start)
	scores := map[string]float64{}
	for in := bufio.NewScanner(bytes.NewReader(out)); in.Scan(); {
		fields := strings.Fields(in.Text())
		if len(fields) < 2 {
			continue
		}
		if score, err := strconv.ParseFloat(fields[len(fields)-1], 64); err == nil {
			scores[fields[0]] = score
		}
	}
	return scores, took, nil
}
