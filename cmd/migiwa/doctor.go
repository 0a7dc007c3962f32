package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/migiwa/migiwa/internal/config"
	"github.com/migiwa/migiwa/internal/node"
)

// doctorCmd looks for what keeps mail from flowing.
type doctorCmd struct{}

func (doctorCmd) Run(ctx context.Context, c *cli, out *output) error {
	cfg, err := config.Load(c.Config)
	if err != nil {
		return err
	}
	findings, err := node.Examine(ctx, cfg)
	if err != nil {
		return err
	}
	bad := 0
	for _, f := range findings {
		if f.Level == node.Bad {
			bad++
		}
		if out.json {
			err = out.object(f)
		} else {
			_, err = fmt.Fprintf(out.w, "%-5s %s\n", f.Level, f.Text)
			if err == nil && f.Mend != "" {
				_, err = fmt.Fprintf(out.w, "      %s\n", f.Mend)
			}
		}
		if err != nil {
			return err
		}
	}
	if bad > 0 {
		return errors.New("mail does not flow as it should")
	}
	return nil
}
