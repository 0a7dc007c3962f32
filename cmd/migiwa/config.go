package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"runtime/debug"

	"github.com/pelletier/go-toml/v2"

	"github.com/migiwa/migiwa/internal/config"
)

// configCmd looks at the configuration.
type configCmd struct {
	Check configCheckCmd `cmd:"" help:"Say what is wrong with the file, with line, key and reason."`
	Print configPrintCmd `cmd:"" help:"Print the configuration in force, defaults included."`
	Doc   configDocCmd   `cmd:"" help:"Describe every key."`
}

type configCheckCmd struct{}

func (configCheckCmd) Run(c *cli, out *output) error {
	if _, err := config.Load(c.Config); err != nil {
		return err
	}
	fmt.Fprintf(out.w, "%s: good\n", c.Config)
	return nil
}

type configPrintCmd struct{}

// dsnPassword finds the password of a database address.
var dsnPassword = regexp.MustCompile(`(postgres(?:ql)?://[^:/@\s]*:)[^@\s"]*@`)

func (configPrintCmd) Run(c *cli, out *output) error {
	cfg, err := config.Load(c.Config)
	if err != nil {
		return err
	}
	cfg.Store.DSN = dsnPassword.ReplaceAllString(cfg.Store.DSN, "${1}…@")
	text, err := toml.Marshal(cfg)
	if err != nil {
		return fmt.Errorf("print configuration: %w", err)
	}
	_, err = out.w.Write(text)
	return err
}

type configDocCmd struct{}

func (configDocCmd) Run(out *output) error {
	if out.json {
		return json.NewEncoder(out.w).Encode(config.Keys())
	}
	for _, k := range config.Keys() {
		if _, err := fmt.Fprintf(out.w, "- `%s` = `%s` (%s)  \n  %s\n", k.Name, k.Default, k.Type, k.Doc); err != nil {
			return err
		}
	}
	return nil
}

type versionCmd struct{}

// Run prints the module's version and the revision it was built from.
func (versionCmd) Run(out *output) error {
	version, revision := "development", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		if info.Main.Version != "" && info.Main.Version != "(devel)" {
			version = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = s.Value
			}
		}
	}
	if out.json {
		return json.NewEncoder(out.w).Encode(map[string]string{"version": version, "revision": revision})
	}
	_, err := fmt.Fprintln(out.w, "migiwa", version, revision)
	return err
}
