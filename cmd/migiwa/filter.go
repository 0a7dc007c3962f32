package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/dns"
	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/filter/clamd"
	"github.com/migiwa/migiwa/internal/filter/suite"
	"github.com/migiwa/migiwa/internal/mail"
)

// filterCmd holds the commands of the filters.
type filterCmd struct {
	List    filterListCmd    `cmd:"" help:"Show how far each filter may go with somebody's mail."`
	Set     filterSetCmd     `cmd:"" help:"Say how far filters may go with somebody's mail."`
	History filterHistoryCmd `cmd:"" help:"Show who changed that, when and from where."`
	Senders filterSendersCmd `cmd:"" help:"Show whom an account allows and blocks."`
	Allow   filterAllowCmd   `cmd:"" help:"Allow a sender for an account."`
	Block   filterBlockCmd   `cmd:"" help:"Block a sender for an account, as far as its filter access may go."`
	Forget  filterForgetCmd  `cmd:"" help:"Neither allow nor block a sender any more."`
	Channel filterChannelCmd `cmd:"" help:"Make an address of an account for the mail of one domain only."`
	Check   filterCheckCmd   `cmd:"" help:"Run all filters on messages in files and print what they find."`
}

// filterCheckCmd runs the filters on files, as if each had just come in.
type filterCheckCmd struct {
	Files    []string `arg:"" name:"file" help:"Messages, one a file; - is standard input."`
	ClientIP string   `name:"client-ip" help:"The address it came from." placeholder:"ADDRESS"`
	Helo     string   `help:"What the client called itself." placeholder:"NAME"`
	From     string   `help:"Envelope sender; <> for a bounce. Default: Return-Path." placeholder:"ADDR"`
	Rcpt     string   `help:"Envelope recipient." placeholder:"ADDR"`
	NoDNS    bool     `name:"no-dns" help:"Do not ask DNS. It is asked no more anyway once it fails to answer."`
	Zone     string   `help:"Take DNS from this zone file instead." type:"existingfile" placeholder:"FILE"`
	Clamd    string   `help:"ClamAV's daemon: a socket's path, or host:port." placeholder:"ADDR"`
	Rules    string   `help:"A file of content rules, beside the own ones." type:"existingfile" placeholder:"FILE"`
}

// maxChecked bounds a file, in octets.
const maxChecked = 256 << 20

// checked is what is printed of one file.
type checked struct {
	File     string             `json:"file"`
	Score    float64            `json:"score"`
	Verdict  string             `json:"verdict"`
	Millis   float64            `json:"millis"`
	Took     map[string]float64 `json:"took"` // milliseconds by filter
	Findings []checkedFinding   `json:"findings"`
	Failures []string           `json:"failures,omitempty"`
}

type checkedFinding struct {
	Filter   string  `json:"filter"`
	Symbol   string  `json:"symbol"`
	Score    float64 `json:"score"`
	Evidence string  `json:"evidence"`
}

func (c *filterCheckCmd) Run(ctx context.Context, out *output) error {
	o := suite.Options{Rules: c.Rules}
	if c.Clamd != "" {
		o.Scanner = &clamd.Client{Address: c.Clamd}
	}
	var err error
	if o.Resolver, err = c.resolver(); err != nil {
		return err
	}
	pipeline, err := suite.New(o)
	if err != nil {
		return err
	}
	env, to, err := c.envelope()
	if err != nil {
		return err
	}
	sum := summary{verdicts: map[string]int{}, took: map[string]float64{}}
	for _, file := range c.Files {
		result, err := c.check(ctx, pipeline, file, env, to)
		if err != nil {
			return err
		}
		sum.add(result)
		if out.json {
			err = out.object(result)
		} else {
			err = result.print(out.w)
		}
		if err != nil {
			return err
		}
	}
	if len(c.Files) > 1 && !out.json {
		return sum.print(out.w)
	}
	return nil
}

// resolver gives where DNS is asked; nil: nowhere.
func (c *filterCheckCmd) resolver() (dns.Resolver, error) {
	switch {
	case c.Zone != "":
		text, err := os.ReadFile(c.Zone)
		if err != nil {
			return nil, err
		}
		return dns.ParseZone(string(text))
	case c.NoDNS:
		return nil, nil
	}
	client, err := dns.NewClient(dns.Config{Timeout: 500 * time.Millisecond, Total: time.Second})
	if err != nil {
		return nil, err
	}
	return &dns.Breaker{Resolver: client, Failures: 1}, nil // thousands of files must not wait for a server that is not there
}

func (c *filterCheckCmd) envelope() (env filter.Envelope, to filter.Recipient, err error) {
	if c.ClientIP != "" {
		if env.Client, err = netip.ParseAddr(c.ClientIP); err != nil {
			return env, to, misuseError("--client-ip: " + err.Error())
		}
	}
	env.Hello = c.Helo
	if c.From != "" && c.From != "<>" {
		if env.From, err = mail.ParseAddress(strings.Trim(c.From, "<>")); err != nil {
			return env, to, misuseError("--from: " + err.Error())
		}
	}
	if c.Rcpt != "" {
		if to.Address, err = mail.ParseAddress(strings.Trim(c.Rcpt, "<>")); err != nil {
			return env, to, misuseError("--rcpt: " + err.Error())
		}
	}
	return env, to, nil
}

func (c *filterCheckCmd) check(ctx context.Context, p *filter.Pipeline, file string, env filter.Envelope, to filter.Recipient) (checked, error) {
	raw, err := readMessage(file)
	if err != nil {
		return checked{}, err
	}
	start := time.Now()
	if c.From == "" {
		path := mail.ParseHeader(raw[:min(len(raw), 64<<10)]).Get("Return-Path")
		if from, err := mail.ParseAddress(strings.Trim(strings.TrimSpace(path), "<>")); err == nil {
			env.From = from
		}
	}
	m, err := filter.FromBytes(env, raw)
	if err != nil {
		return checked{}, err
	}
	result := p.Run(ctx, m, []filter.Recipient{to}, func(int, string) bool { return true })
	out := checked{File: file, Findings: []checkedFinding{}, Took: map[string]float64{}}
	out.Millis = millis(time.Since(start))
	out.Verdict, out.Score = filter.Verdict(result.Findings[0])
	for _, f := range result.Findings[0] {
		out.Findings = append(out.Findings, checkedFinding{f.Filter, f.Symbol, f.Score, f.Evidence})
	}
	for name, took := range result.Took {
		out.Took[name] = millis(took)
	}
	for _, f := range result.Failures {
		out.Failures = append(out.Failures, f.Filter+": "+f.Err.Error())
	}
	return out, nil
}

// readMessage reads a file, without the line by which mbox files begin one.
func readMessage(file string) ([]byte, error) {
	in := io.Reader(os.Stdin)
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	raw, err := io.ReadAll(io.LimitReader(in, maxChecked+1))
	if err == nil && len(raw) > maxChecked {
		err = fmt.Errorf("more than %d MB", maxChecked>>20)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	if bytes.HasPrefix(raw, []byte("From ")) {
		_, raw, _ = bytes.Cut(raw, []byte("\n"))
	}
	return raw, nil
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (r checked) print(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "%s: %s, score %.1f, %.1f ms\n", r.File, r.Verdict, r.Score, r.Millis); err != nil {
		return err
	}
	for _, f := range r.Findings {
		if _, err := fmt.Fprintf(w, "  %6.1f  %-12s %-26s %s\n", f.Score, f.Filter, f.Symbol, printable(f.Evidence)); err != nil {
			return err
		}
	}
	for _, f := range r.Failures {
		if _, err := fmt.Fprintf(w, "  failed: %s\n", f); err != nil {
			return err
		}
	}
	return nil
}

// printable keeps what a stranger wrote from moving the cursor.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

// summary counts over many files.
type summary struct {
	files    int
	millis   float64
	verdicts map[string]int
	took     map[string]float64
	failed   int
}

func (s *summary) add(r checked) {
	s.files++
	s.millis += r.Millis
	s.verdicts[r.Verdict]++
	for name, t := range r.Took {
		s.took[name] += t
	}
	if len(r.Failures) > 0 {
		s.failed++
	}
}

func (s *summary) print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%d messages, %.1f ms each:", s.files, s.millis/float64(s.files))
	for _, v := range []string{"clean", "suspect", "spam", "virus"} {
		fmt.Fprintf(&b, " %d %s", s.verdicts[v], v)
	}
	if s.failed > 0 {
		fmt.Fprintf(&b, "; filters failed on %d", s.failed)
	}
	b.WriteString("\n")
	names := make([]string, 0, len(s.took))
	for name := range s.took {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&b, "  %-12s %.2f ms a message\n", name, s.took[name]/float64(s.files))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
