// Package logstore talks to the log store, where the events of all nodes can be
// searched: VictoriaLogs, as a child process of this node behind a Unix socket
// or as a server by its URL. Both speak the same HTTP interface.
//
// # How events are stored
//
// A field of an event is a field of the store under the same name, but for time,
// which is _time, to the nanosecond. Every value is a text there: a number is
// stored in its JSON form (-1, 2.5), an address as netip.Addr writes it. An empty
// value and a field that is absent are the same. There is no _msg: a server puts
// words of its own there, and they would pass for the text of an event.
//
// # What the store may drop
//
// HTTP 200 for an insert means that the store took the request, not each line.
// It leaves out, and tells only in its counters (Usage.Dropped) and its own log:
//
//   - lines older than its retention, or further in the future than its
//     futureRetention (2 days by default; a child has FutureRetention);
//   - lines of MaxLine octets or more, lines that are no JSON object, and lines
//     without a time it can read, when another line of the request was good.
//
// Insert sends none of the second sort. While its disk has less room than it
// shall leave free, the store refuses inserts with HTTP 429: ErrFull. A busy store
// that lets an insert wait for a minute drops it with HTTP 200, so Insert gives up
// before.
package logstore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/event"
)

const (
	// MaxLine is the length of a line, in octets, that a store does not take any
	// more (-insert.maxLineSizeBytes, by default).
	MaxLine = 256 << 10
	// FutureRetention is how far in the future, by the clock of a child process,
	// an event may lie.
	FutureRetention = 30 * 24 * time.Hour

	maxRow = 4 << 20 // octets of one row of an answer; those of events are far shorter

	insertTimeout = 30 * time.Second // less than a busy store lets an insert wait before it drops it with HTTP 200
	askTimeout    = 10 * time.Second // for small questions
	idleTimeout   = time.Minute      // without a word of an answer; queries end after 30 seconds by default
)

// ErrFull is a refusal because the store's disk has no room. What was refused
// may be sent again later.
var ErrFull = errors.New("log store: no room on its disk")

// ErrNoDelete is a refusal by a server that was not started with -delete.enable.
var ErrNoDelete = errors.New("log store: the server does not allow to delete: start it with -delete.enable")

// StatusError is a refusal by the store, or of Insert in its name.
type StatusError struct {
	Code int    // HTTP status
	Text string // the store's words
}

func (e *StatusError) Error() string { return fmt.Sprintf("log store: HTTP %d: %s", e.Code, e.Text) }

// Client asks one log store. It may be used by several goroutines.
type Client struct {
	base     string // URL without a slash at its end
	user     string
	password string
	http     *http.Client
	idle     time.Duration
}

// NewClient talks to the server at url. user may be empty.
func NewClient(url, user, password string) *Client {
	var d net.Dialer
	c := newClient(strings.TrimRight(url, "/"), d.DialContext)
	c.user, c.password = user, password
	return c
}

// NewSocketClient talks to a child process behind the Unix socket at path.
func NewSocketClient(path string) *Client {
	return newClient("http://logstore", func(ctx context.Context, _, _ string) (net.Conn, error) {
		short, done, err := ShortPath(path)
		if err != nil {
			return nil, err
		}
		defer done()
		var d net.Dialer
		return d.DialContext(ctx, "unix", short)
	})
}

func newClient(base string, dial func(context.Context, string, string) (net.Conn, error)) *Client {
	t := &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: askTimeout}
	return &Client{base: base, http: &http.Client{Transport: t}, idle: idleTimeout}
}

// streams are the fields by which the store keeps events together: few values
// each, and asked for often.
const streams = "node,kind"

// Insert gives the store events, one JSON object a line. When it returns, the
// store has them in its memory; FlushTime later they are on its disk. A line that
// the store would drop without a word makes it a *StatusError with code 400, and
// nothing was sent then. It waits 30 seconds at most.
func (c *Client) Insert(ctx context.Context, lines []byte) error {
	if err := checkLines(lines); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, insertTimeout)
	defer cancel()
	q := url.Values{"_stream_fields": {streams}, "_time_field": {"time"}}
	body, err := c.do(ctx, http.MethodPost, "/insert/jsonline?"+q.Encode(), "application/stream+json", bytes.NewReader(lines))
	if err != nil {
		return err
	}
	return body.Close()
}

// checkLines looks for what the store would drop silently.
func checkLines(lines []byte) error {
	n := -1
	for line := range bytes.Lines(lines) {
		n++
		line = bytes.TrimSpace(line)
		switch {
		case len(line) == 0:
		case len(line) >= MaxLine:
			return badLine(n, fmt.Sprintf("has %d octets; less than %d are taken", len(line), MaxLine))
		case line[0] != '{' || !json.Valid(line):
			return badLine(n, "is no JSON object")
		case !bytes.Contains(line, []byte(`"time":"`)):
			return badLine(n, "has no time")
		}
	}
	return nil
}

func badLine(n int, why string) error {
	return &StatusError{Code: http.StatusBadRequest, Text: fmt.Sprintf("line %d %s", n+1, why)}
}

// form asks with parameters in the body of the request, so that they are in no
// log of a proxy.
func (c *Client) form(ctx context.Context, path string, q url.Values) (io.ReadCloser, error) {
	return c.do(ctx, http.MethodPost, path, "application/x-www-form-urlencoded", strings.NewReader(q.Encode()))
}

// do sends a request and gives the body of a good answer.
func (c *Client) do(ctx context.Context, method, path, kind string, body io.Reader) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, fmt.Errorf("log store: %w", err)
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	if c.user != "" {
		req.SetBasicAuth(c.user, c.password)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("log store: %w", cause(ctx, err))
	}
	if resp.StatusCode/100 == 2 {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	why, _ := io.ReadAll(io.LimitReader(resp.Body, 500)) // its status says enough
	refusal := &StatusError{Code: resp.StatusCode, Text: strings.TrimSpace(string(why))}
	switch {
	case resp.StatusCode == http.StatusTooManyRequests && strings.Contains(refusal.Text, "read-only"):
		return nil, fmt.Errorf("%w: %w", ErrFull, refusal)
	case strings.Contains(refusal.Text, "-delete.enable"):
		return nil, fmt.Errorf("%w: %w", ErrNoDelete, refusal)
	}
	return nil, refusal
}

// cause gives why ctx was cancelled, when it was and err comes of that.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return context.Cause(ctx)
	}
	return err
}

// Delete deletes the events that a LogsQL filter finds and that the store took
// before the call. It returns when they are gone, which takes the store from
// seconds to minutes, or when ctx ends; the store goes on with it then, also
// after a restart. ErrNoDelete: the server does not allow it.
func (c *Client) Delete(ctx context.Context, filter string) error {
	var task struct {
		ID string `json:"task_id"`
	}
	if err := c.ask(ctx, "/delete/run_task", url.Values{"filter": {filter}}, &task); err != nil {
		return err
	}
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		var active []struct {
			ID string `json:"task_id"`
		}
		if err := c.ask(ctx, "/delete/active_tasks", nil, &active); err != nil {
			return err
		}
		running := false
		for _, a := range active {
			running = running || a.ID == task.ID
		}
		if !running {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("log store: delete: %w", ctx.Err())
		}
	}
}

// ask gets a small JSON answer.
func (c *Client) ask(ctx context.Context, path string, q url.Values, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	body, err := c.form(ctx, path, q)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(io.LimitReader(body, maxRow)).Decode(answer); err != nil {
		return fmt.Errorf("log store: answer of %s: %w", path, err)
	}
	return nil
}

// Span is a time span for a search. A zero From or To is no bound.
type Span struct{ From, To time.Time }

// Select calls fn for the events that a LogsQL query finds: with a limit that
// many, the newest; with 0 all. They come in no order. An error of fn ends it
// and is returned.
func (c *Client) Select(ctx context.Context, query string, in Span, limit int, fn func(event.Event) error) error {
	return c.Rows(ctx, query, in, limit, events(fn))
}

// Rows is Select for queries whose results are no events, such as counts.
func (c *Client) Rows(ctx context.Context, query string, in Span, limit int, fn func(map[string]string) error) error {
	q := url.Values{"query": {query}}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	if !in.From.IsZero() {
		q.Set("start", in.From.UTC().Format(time.RFC3339Nano))
	}
	if !in.To.IsZero() {
		q.Set("end", in.To.UTC().Format(time.RFC3339Nano))
	}
	return c.stream(ctx, "/select/logsql/query", q, c.idle, fn)
}

// Tail calls fn for events that a LogsQL query finds, as they come in, until
// ctx ends.
func (c *Client) Tail(ctx context.Context, query string, fn func(event.Event) error) error {
	q := url.Values{"query": {query}, "offset": {"1s"}}
	return c.stream(ctx, "/select/logsql/tail", q, 0, events(fn))
}

// events gives an fn for rows that calls one for events.
func events(fn func(event.Event) error) func(map[string]string) error {
	return func(row map[string]string) error {
		e, err := decode(row)
		if err != nil {
			return err
		}
		return fn(e)
	}
}
