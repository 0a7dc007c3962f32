package filter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/migiwa/migiwa/internal/mail"
)

// Pipeline runs filters on messages. It is safe for concurrent use.
type Pipeline struct {
	Filters []Filter
	// Deadline is how long each filter may take on one message; 0 is 10 s.
	Deadline time.Duration
}

const defaultDeadline = 10 * time.Second

// Failure is a filter that could not do its work on a message.
type Failure struct {
	Filter string
	Err    error
}

// Result is what a Pipeline has to say of one message.
type Result struct {
	// Findings of each recipient, in the order of the recipients and filters.
	Findings [][]Finding
	// Fields of each recipient's header.
	Fields [][]Field
	// Changes are those that filters have made, by their names.
	Changes  map[string]Change
	Failures []Failure
	// Took is how long each filter that was called took.
	Took map[string]time.Duration
}

// ErrDeadline is the failure of a filter that took too long.
var ErrDeadline = errors.New("no answer within its time")

// Run checks m for its recipients. on tells whether a recipient, by its index,
// has a filter on.
func (p *Pipeline) Run(ctx context.Context, m *Message, recipients []Recipient, on func(index int, filter string) bool) Result {
	result := Result{Findings: make([][]Finding, len(recipients)), Fields: make([][]Field, len(recipients)), Changes: map[string]Change{}, Took: map[string]time.Duration{}}
	runs := make([]*run, 0, len(p.Filters))
	for _, f := range p.Filters {
		r := &run{filter: f, report: &Report{findings: map[int][]mail.Finding{}}, done: make(chan struct{})}
		for i, to := range recipients {
			if to.Index = i; on(i, f.Name()) {
				r.report.Recipients = append(r.report.Recipients, to)
			}
		}
		if len(r.report.Recipients) > 0 {
			runs = append(runs, r)
		}
	}
	deadline := p.Deadline
	if deadline == 0 {
		deadline = defaultDeadline
	}
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	for _, r := range runs {
		go r.check(ctx, m)
	}
	for _, r := range runs {
		r.collect(ctx, &result)
	}
	return result
}

// run is one filter at work on one message.
type run struct {
	filter Filter
	report *Report
	done   chan struct{}
	err    error
	took   time.Duration
}

func (r *run) check(ctx context.Context, m *Message) {
	start := time.Now()
	defer close(r.done)
	r.err = Contained(func() error { return r.filter.Check(ctx, m, r.report) })
	r.took = time.Since(start)
}

// Contained calls f and gives a panic of it as an error.
func Contained(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	return f()
}

// collect waits for the run, though not longer than ctx: what a filter that
// does not listen to its context says later is dropped.
func (r *run) collect(ctx context.Context, result *Result) {
	err := ErrDeadline
	name := r.filter.Name()
	select {
	case <-r.done:
	case <-ctx.Done():
	}
	select {
	case <-r.done: // also when the deadline has come while another was waited for
		err = r.err
		result.Took[name] = r.took
	default:
	}
	r.report.close()
	for _, to := range r.report.Recipients {
		for _, text := range r.report.fields {
			result.Fields[to.Index] = append(result.Fields[to.Index], Field{name, text})
		}
	}
	if r.report.change != nil {
		result.Changes[name] = *r.report.change
	}
	for i, findings := range r.report.findings {
		for _, f := range findings {
			result.Findings[i] = append(result.Findings[i], Finding{name, f})
		}
	}
	if err != nil {
		result.Failures = append(result.Failures, Failure{name, err})
	}
}
