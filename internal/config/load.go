package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// Problem is one thing wrong with a configuration file.
type Problem struct {
	File   string
	Line   int // 0 when the key is missing from the file
	Key    string
	Reason string
}

// String gives "file:line: key: reason".
func (p Problem) String() string {
	where := p.File
	if p.Line > 0 {
		where += ":" + strconv.Itoa(p.Line)
	}
	if p.Key == "" {
		return where + ": " + p.Reason
	}
	return where + ": " + p.Key + ": " + p.Reason
}

// Problems are all problems of a file, in the order of its lines.
type Problems []Problem

// Error gives one line a problem.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Load reads and checks the file. A file that can be read but is wrong gives
// Problems as its error.
func Load(file string) (*Config, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(file, text)
}

// Parse checks text as the contents of file.
func Parse(file string, text []byte) (*Config, error) {
	c := Default()
	c.File = file
	d := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields()
	err := d.Decode(c)
	var unknown *toml.StrictMissingError // found after everything else was decoded
	if err != nil && !errors.As(err, &unknown) {
		return nil, decodeProblems(file, err)
	}
	for i := range c.Routes {
		c.Routes[i].setDefaults()
	}
	ck := checker{file: file, lines: keyLines(text)}
	if unknown != nil {
		ck.problems = unknownKeys(file, unknown)
	}
	c.check(&ck)
	if len(ck.problems) > 0 {
		slices.SortStableFunc(ck.problems, func(a, b Problem) int { return a.Line - b.Line })
		return nil, ck.problems
	}
	c.resolvePaths(filepath.Dir(file))
	return c, nil
}

func unknownKeys(file string, unknown *toml.StrictMissingError) Problems {
	var ps Problems
	for _, e := range unknown.Errors {
		line, _ := e.Position()
		ps = append(ps, Problem{file, line, strings.Join(e.Key(), "."), "there is no such key"})
	}
	return ps
}

func decodeProblems(file string, err error) error {
	var bad *toml.DecodeError
	if errors.As(err, &bad) {
		line, _ := bad.Position()
		reason := strings.TrimPrefix(bad.Error(), "toml: ")
		return Problems{{file, line, strings.Join(bad.Key(), "."), reason}}
	}
	return Problems{{File: file, Reason: strings.TrimPrefix(err.Error(), "toml: ")}}
}

// keyLines finds the line of every key. Elements of arrays of tables are
// counted: route[0].to.
func keyLines(text []byte) map[string]int {
	lines := map[string]int{}
	count := map[string]int{}
	var p unstable.Parser
	p.Reset(text)
	prefix := ""
	for p.NextExpression() {
		e := p.Expression()
		key, line := keyOf(&p, e)
		switch e.Kind {
		case unstable.Table:
			prefix = key + "."
			lines[key] = line
		case unstable.ArrayTable:
			indexed := fmt.Sprintf("%s[%d]", key, count[key])
			count[key]++
			prefix = indexed + "."
			lines[indexed] = line
		case unstable.KeyValue:
			lines[prefix+key] = line
		}
	}
	return lines
}

func keyOf(p *unstable.Parser, e *unstable.Node) (key string, line int) {
	var parts []string
	for it := e.Key(); it.Next(); {
		n := it.Node()
		if line == 0 {
			line = p.Shape(n.Raw).Start.Line
		}
		parts = append(parts, string(n.Data))
	}
	return strings.Join(parts, "."), line
}

func (c *Config) resolvePaths(base string) {
	abs := func(p *string) {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(base, *p)
		}
	}
	abs(&c.DataDir)
	abs(&c.DNS.ZoneFile)
	abs(&c.TLS.ACME.CAFile)
	abs(&c.Log.Store.Password)
	abs(&c.Filter.Rules)
	abs(&c.Filter.Access)
	for i := range c.TLS.Certificates {
		abs(&c.TLS.Certificates[i].Cert)
		abs(&c.TLS.Certificates[i].Key)
	}
	for i := range c.Routes {
		abs(&c.Routes[i].Password)
		if path, ok := strings.CutPrefix(c.Routes[i].To, "unix:"); ok {
			abs(&path)
			c.Routes[i].To = "unix:" + path
		}
	}
}
