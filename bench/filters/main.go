// Command filters trains the site model of the learned filter and measures it
// beside other filters on labelled mail. README.md in its directory has the
// figures.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
)

const usage = `usage: filters train [FILE]             train the site model on the training half
       filters tune                     cross-validate on the training half
       filters fit [--write]            fit the scores of findings by the training half
       filters evaluate                 measure on the test half
       filters evaluate --command CMD   measure another filter on it
       filters score [--taught N] FILE  judge messages`

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "filters:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	switch rest := args[1:]; args[0] {
	case "train":
		name := "internal/filter/learned/site.bin"
		if len(rest) > 0 {
			name = rest[0]
		}
		return writeModel(name)
	case "tune":
		return tune()
	case "fit":
		flags := flag.NewFlagSet("fit", flag.ExitOnError)
		write := flags.Bool("write", false, "change internal/filter/scores.txt")
		if err := flags.Parse(rest); err != nil {
			return err
		}
		return fit(*write)
	case "evaluate":
		flags := flag.NewFlagSet("evaluate", flag.ExitOnError)
		way := flags.Bool("way", false, "leave Received, Date and Message-ID to the command")
		command := flags.String("command", "", "a filter: names of files on its standard input, `file score` lines out")
		if err := flags.Parse(rest); err != nil {
			return err
		}
		return evaluate(*command, *way)
	case "score":
		flags := flag.NewFlagSet("score", flag.ExitOnError)
		taught := flags.Int("taught", 0, "by an account that was taught so many messages of the training half")
		if err := flags.Parse(rest); err != nil {
			return err
		}
		return scoreFiles(flags.Args(), *taught)
	}
	return errors.New(usage)
}
