// Package virus looks for viruses with ClamAV, and for attachments of kinds
// that are sent to do harm.
package virus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/mail"
)

// Scanner looks for viruses.
type Scanner interface {
	// Scan gives the name of what was found, "" for nothing.
	Scan(ctx context.Context, r io.Reader) (signature string, err error)
}

// Filter is the virus filter.
type Filter struct {
	Scanner Scanner // nil: only attachments are looked at
	TempDir string  // for archives while they are looked at; "" is the system's
}

// Symbols that decide by themselves what becomes of a message.
const (
	Found      = "VIRUS"
	Unscanned  = "VIRUS_UNSCANNED"  // the scanner did not answer
	Unreadable = "MIME_UNPARSEABLE" // programs read the message differently
)

// maxLeaves bounds how many parts are scanned by themselves.
const maxLeaves = 50

// Name implements filter.Filter.
func (f *Filter) Name() string { return "virus" }

// Check implements filter.Filter. When the scanner does not answer, that is a
// finding as well as an error: what was not looked at is not clean.
func (f *Filter) Check(ctx context.Context, m *filter.Message, r *filter.Report) error {
	a := &attachments{ctx: ctx, dir: f.TempDir, scanner: f.Scanner, found: map[string]bool{}, add: func(symbol, evidence string) {
		r.Add(mail.Finding{Symbol: symbol, Score: filter.Score(symbol), Evidence: evidence})
	}}
	defects := defects(m)
	signature, err := f.scan(ctx, m, defects != "")
	if signature != "" {
		a.add(Found, signature)
		return nil
	}
	if err != nil {
		a.say(Unscanned, "the scanner did not look at all of it")
	}
	if defects != "" {
		a.add(Unreadable, defects)
	}
	if aerr := a.message(m); aerr != nil {
		a.say(Unscanned, "not all attachments were looked at")
		err = errors.Join(err, aerr)
	}
	return err
}

// errLeaves means that a message has more parts than are scanned.
var errLeaves = fmt.Errorf("more than %d parts to scan", maxLeaves)

// scan asks the scanner for the whole message and, since it may read it
// differently, for each attachment as we decode it, or with all for each part.
func (f *Filter) scan(ctx context.Context, m *filter.Message, all bool) (string, error) {
	if f.Scanner == nil {
		return "", nil
	}
	whole, err := m.Open()
	if err != nil {
		return "", err
	}
	defer whole.Close()
	signature, err := f.Scanner.Scan(ctx, whole)
	if signature != "" || !all && !attached(m) {
		return signature, err
	}
	again, oerr := m.Open()
	if oerr != nil {
		return "", errors.Join(err, oerr)
	}
	defer again.Close()
	leaves := 0
	_, perr := mail.ReadMIME(again, mail.DefaultMIMELimits(), func(p *mail.Part, body io.Reader) error {
		if !p.Leaf || signature != "" || !all && harmless(p) {
			return nil
		}
		if leaves++; leaves > maxLeaves {
			return errLeaves
		}
		var serr error
		signature, serr = f.Scanner.Scan(ctx, p.Decode(body))
		return serr
	})
	if signature != "" {
		return signature, nil
	}
	return "", errors.Join(err, perr)
}

// attached tells whether there is an attachment to scan.
func attached(m *filter.Message) bool {
	return slices.ContainsFunc(m.Parts, func(p *filter.Part) bool { return !harmless(p.Part) })
}

// harmless tells of parts that the scanner reads as we do, or does not care for.
func harmless(p *mail.Part) bool {
	return p.Is("text/") && p.Disposition != "attachment" && p.Encoding != "base64" || p.Is("image/") && !slices.ContainsFunc(p.Filenames(), func(name string) bool {
		return !shown[extension(name)]
	})
}

// Readings differ by these defects; the rest is only ugly.
var differ = map[mail.DefectKind]bool{
	mail.DefectLimit: true, mail.DefectNoBoundary: true, mail.DefectAfterEnd: true, mail.DefectLooseBoundary: true, mail.DefectHeaderEnd: true,
	mail.DefectHeaderLine: true, mail.DefectDuplicate: true, mail.DefectSyntax: true, mail.DefectEncoding: true, mail.DefectBase64: true,
	mail.DefectQuoted: true, mail.DefectNUL: true, mail.DefectEmpty: true,
}

// defects tells in words why programs may read the message differently, "" when
// none should.
func defects(m *filter.Message) string {
	var words []string
	for p := range m.Root.All() {
		if p.Params["boundary"] != "" && !p.Is("multipart/") {
			words = append(words, "a boundary in "+strings.ToValidUTF8(p.Type, ""))
		}
		for _, d := range p.Defects {
			if differ[d.Kind] && len(words) < 3 {
				words = append(words, strings.TrimSpace(string(d.Kind)+" "+d.Detail))
			}
		}
	}
	if len(words) == 0 {
		return ""
	}
	return fmt.Sprintf("mail programs may read it in different ways: %s", strings.Join(words, ", "))
}
