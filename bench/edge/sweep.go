package main

import (
	"fmt"
	"io"
	"os"
	"reflect"
	"strconv"

	"github.com/migiwa/migiwa/internal/edge"
)

// factors are what each constant is multiplied by.
var factors = []float64{0.5, 0.75, 1.33, 2}

// untouched are rules that have nothing to do with harvesting by RCPT.
var untouched = map[string]bool{"again": true, "early_talk": true, "probe": true, "scan": true, "bare_probe": true,
	"null_flood": true, "null_mailbox": true, "null_realm": true}

// sweeps varies each constant alone and prints the share of guesses answered and
// of honest mail delayed, under attack and in peace.
func (o *options) sweeps(w io.Writer) error {
	fmt.Fprint(w, "| rule | value |")
	for _, f := range factors {
		fmt.Fprintf(w, " x%g |", f)
	}
	fmt.Fprint(w, "\n|---|---|---|---|---|---|\n")
	if err := o.swept(w, "none changed", nil); err != nil {
		return err
	}
	for _, key := range edge.RuleKeys() {
		value, ok := numeric(key)
		if !ok || value == 0 || untouched[key] {
			continue
		}
		var pairs []string
		for _, f := range factors {
			v := strconv.FormatFloat(value*f, 'g', 5, 64)
			if key == "credits_per_recipient" {
				v = strconv.Itoa(int(value * f))
			}
			pairs = append(pairs, key+"="+v)
		}
		if err := o.swept(w, fmt.Sprintf("%s | %g", key, value), pairs); err != nil {
			return err
		}
	}
	return nil
}

func (o *options) swept(w io.Writer, title string, pairs []string) error {
	fmt.Fprintf(w, "| %s |", title)
	if pairs == nil {
		pairs = []string{""}
	}
	for _, pair := range pairs {
		c := *o
		c.set = append(settings{}, o.set...)
		if pair != "" {
			c.set = append(c.set, pair)
		}
		r, err := c.play(c.setting())
		if err != nil {
			return err
		}
		a, p := r.total(underAttack), r.total(inPeace)
		fmt.Fprintf(w, " %s · %s · %s |", short(r.answeredShare()), short(a.delayedShare()), short(p.delayedShare()))
		fmt.Fprintln(os.Stderr, pair)
	}
	fmt.Fprintln(w)
	return nil
}

// numeric gives the default of a rule that is a number.
func numeric(key string) (float64, bool) {
	rules := reflect.ValueOf(edge.DefaultRules())
	for i, k := range edge.RuleKeys() {
		if k != key {
			continue
		}
		switch f := rules.Field(i); f.Kind() {
		case reflect.Float64:
			return f.Float(), true
		case reflect.Int:
			return float64(f.Int()), true
		}
	}
	return 0, false
}
