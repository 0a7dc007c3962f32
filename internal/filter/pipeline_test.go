package filter

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/migiwa/migiwa/internal/mail"
)

// probe is a filter made of a function, which counts how often it is called.
type probe struct {
	name  string
	calls atomic.Int64
	check func(context.Context, *Message, *Report) error
}

func (p *probe) Name() string { return p.name }

func (p *probe) Check(ctx context.Context, m *Message, r *Report) error {
	p.calls.Add(1)
	return p.check(ctx, m, r)
}

func finds(name string) *probe {
	return &probe{name: name, check: func(_ context.Context, _ *Message, r *Report) error {
		r.Add(mail.Finding{Symbol: strings.ToUpper(name), Score: 1})
		return nil
	}}
}

func recipients(n int) []Recipient {
	out := make([]Recipient, n)
	for i := range out {
		out[i].Account = fmt.Sprint("account", i)
	}
	return out
}

func symbols(findings []Finding) string {
	words := make([]string, len(findings))
	for i, f := range findings {
		words[i] = f.Filter + ":" + f.Symbol
	}
	return strings.Join(words, " ")
}

func message(t *testing.T, text string) *Message {
	t.Helper()
	m, err := FromBytes(Envelope{}, []byte(strings.ReplaceAll(text, "\n", "\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestPipelineRunsOnlyWhatIsOn(t *testing.T) {
	a, b, c := finds("a"), finds("b"), finds("c")
	p := &Pipeline{Filters: []Filter{a, b, c}}
	on := map[string]bool{"0a": true, "0b": true, "2b": true}
	result := p.Run(t.Context(), message(t, "Subject: x\n\nbody\n"), recipients(3),
		func(i int, filter string) bool { return on[fmt.Sprint(i, filter)] })
	for i, want := range []string{"a:A b:B", "", "b:B"} {
		if got := symbols(result.Findings[i]); got != want {
			t.Errorf("recipient %d has %q, want %q", i, got, want)
		}
	}
	if got := [3]int64{a.calls.Load(), b.calls.Load(), c.calls.Load()}; got != [3]int64{1, 1, 0} {
		t.Errorf("the filters were called %v times", got)
	}
	if len(result.Failures) != 0 {
		t.Errorf("failures: %v", result.Failures)
	}
}

func TestPipelineTellsRecipientsApart(t *testing.T) {
	own := &probe{name: "own", check: func(_ context.Context, _ *Message, r *Report) error {
		for _, to := range r.Recipients {
			if to.Account == "account1" {
				r.AddFor(to.Index, mail.Finding{Symbol: "MINE"})
			}
		}
		return nil
	}}
	p := &Pipeline{Filters: []Filter{own}}
	result := p.Run(t.Context(), message(t, "\n"), recipients(3), func(int, string) bool { return true })
	for i, want := range []string{"", "own:MINE", ""} {
		if got := symbols(result.Findings[i]); got != want {
			t.Errorf("recipient %d has %q, want %q", i, got, want)
		}
	}
}

// A filter that hangs, panics or fails costs its own findings, not those of the others.
func TestPipelineSurvivesItsFilters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := &probe{name: "late", check: func(_ context.Context, _ *Message, r *Report) error {
			time.Sleep(time.Minute)
			r.Add(mail.Finding{Symbol: "TOO_LATE"})
			return nil
		}}
		panics := &probe{name: "panics", check: func(context.Context, *Message, *Report) error { panic("oh") }}
		broken := &probe{name: "broken", check: func(_ context.Context, _ *Message, r *Report) error {
			r.Add(mail.Finding{Symbol: "HALF"})
			return errors.New("no server")
		}}
		p := &Pipeline{Filters: []Filter{late, panics, broken, finds("good")}, Deadline: time.Second}
		start := time.Now()
		result := p.Run(t.Context(), message(t, "\n"), recipients(1), func(int, string) bool { return true })
		if took := time.Since(start); took != time.Second {
			t.Errorf("took %v", took)
		}
		if got := symbols(result.Findings[0]); got != "broken:HALF good:GOOD" {
			t.Errorf("findings: %s", got)
		}
		failed := fmt.Sprint(result.Failures)
		for _, want := range []string{"late", ErrDeadline.Error(), "panics", "panic: oh", "broken", "no server"} {
			if !strings.Contains(failed, want) {
				t.Errorf("failures do not tell %q: %s", want, failed)
			}
		}
		time.Sleep(2 * time.Minute) // late ends
		if got := symbols(result.Findings[0]); strings.Contains(got, "TOO_LATE") {
			t.Errorf("a finding came after the verdict: %s", got)
		}
	})
}

func TestReportIsBounded(t *testing.T) {
	chatty := &probe{name: "chatty", check: func(_ context.Context, _ *Message, r *Report) error {
		for range 10 * maxFindings {
			r.Add(mail.Finding{Symbol: "AGAIN"})
		}
		return nil
	}}
	p := &Pipeline{Filters: []Filter{chatty}}
	result := p.Run(t.Context(), message(t, "\n"), recipients(1), func(int, string) bool { return true })
	if n := len(result.Findings[0]); n != maxFindings {
		t.Errorf("%d findings", n)
	}
}
