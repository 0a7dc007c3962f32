// Command filters trains the site model of the learned filter and measures it
// beside other filters on labelled mail. README.md in its directory has the
// figures.
package main

import (
	"fmt"
	"os"
)

const usage = `usage: filters train [FILE]   train the site model on the training half
       filters tune           cross-validate on the training half`

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "filters:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 0:
		return fmt.Errorf("%s", usage)
	case args[0] == "train":
		name := "internal/filter/learned/site.bin"
		if len(args) > 1 {
			name = args[1]
		}
		return writeModel(name)
	case args[0] == "tune":
		return tune()
	}
	return fmt.Errorf("%s", usage)
}
