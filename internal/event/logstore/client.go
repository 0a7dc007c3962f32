// Package logstore talks to the log store, where the events of all nodes can be
// searched: VictoriaLogs, as a child process of this node behind a Unix socket
// or as a server by its URL. Both speak the same HTTP interface.
package logstore

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
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

// Client asks one log store. It may be used by several goroutines.
type Client struct {
	base     string // URL without a slash at its end
	user     string
	password string
	http     *http.Client
}

// NewClient talks to the server at url. user may be empty.
func NewClient(url, user, password string) *Client {
	return &Client{base: strings.TrimRight(url, "/"), user: user, password: password, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4}}}
}

// NewSocketClient talks to a child process behind the Unix socket at path.
func NewSocketClient(path string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		short, done, err := ShortPath(path)
		if err != nil {
			return nil, err
		}
		defer done()
		var d net.Dialer
		return d.DialContext(ctx, "unix", short)
	}
	return &Client{base: "http://logstore", http: &http.Client{Transport: &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 4}}}
}

// streams are the fields by which the store keeps events together: few values
// each, and asked for often.
const streams = "node,kind"

// Insert gives the store events, one JSON object a line. When it returns, the
// store has them in its memory; they are on its disk some seconds later.
func (c *Client) Insert(ctx context.Context, lines []byte) error {
	q := url.Values{"_stream_fields": {streams}, "_time_field": {"time"}}
	r, err := c.post(ctx, "/insert/jsonline?"+q.Encode(), "application/stream+json", bytes.NewReader(lines))
	if err != nil {
		return err
	}
	return r.Close()
}

// Started gives a mark of the running process of the store, another one after
// each start. What was inserted some seconds before it changed may be lost.
func (c *Client) Started(ctx context.Context) (string, error) {
	m, err := c.metrics(ctx)
	if err != nil {
		return "", err
	}
	return strconv.FormatFloat(m["vm_app_start_timestamp"], 'f', -1, 64), nil
}

// Usage is what the store uses.
type Usage struct {
	Rows     int64 `json:"rows"`
	Disk     int64 `json:"disk"`   // octets of data
	Free     int64 `json:"free"`   // octets of the disk that are left
	Memory   int64 `json:"memory"` // octets resident
	ReadOnly bool  `json:"read_only"`
}

// Usage asks what the store uses.
func (c *Client) Usage(ctx context.Context) (u Usage, err error) {
	m, err := c.metrics(ctx)
	if err != nil {
		return u, err
	}
	for name, value := range m {
		name, _, _ = strings.Cut(name, "{")
		switch name {
		case "vl_storage_rows":
			u.Rows += int64(value)
		case "vl_data_size_bytes":
			u.Disk += int64(value)
		case "vl_free_disk_space_bytes":
			u.Free = int64(value)
		case "process_resident_memory_bytes":
			u.Memory = int64(value)
		case "vl_storage_is_read_only":
			u.ReadOnly = value > 0
		}
	}
	return u, nil
}

// metrics gives the store's own metrics, by name with labels.
func (c *Client) metrics(ctx context.Context) (map[string]float64, error) {
	body, err := c.do(ctx, "/metrics", nil)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	m := map[string]float64{}
	for sc := bufio.NewScanner(io.LimitReader(body, 4<<20)); sc.Scan(); {
		name, text, _ := strings.Cut(sc.Text(), " ")
		if value, err := strconv.ParseFloat(text, 64); err == nil {
			m[name] = value
		}
	}
	return m, nil
}

// Delete has the store delete what a LogsQL filter finds. It does so in its own
// time; until then the events are found.
func (c *Client) Delete(ctx context.Context, filter string) error {
	r, err := c.do(ctx, "/delete/run_task", url.Values{"filter": {filter}})
	if err != nil {
		return err
	}
	return r.Close()
}

// Deleting tells whether the store is still at deleting.
func (c *Client) Deleting(ctx context.Context) (bool, error) {
	body, err := c.do(ctx, "/delete/active_tasks", nil)
	if err != nil {
		return false, err
	}
	defer body.Close()
	var tasks []json.RawMessage
	if err := json.NewDecoder(io.LimitReader(body, 1<<20)).Decode(&tasks); err != nil {
		return false, fmt.Errorf("log store: read answer: %w", err)
	}
	return len(tasks) > 0, nil
}

// Span is a time span for a search. A zero From or To is no bound.
type Span struct{ From, To time.Time }

// Select calls fn for the events that a LogsQL query finds, at most limit of
// them (0: all), in no order. An error of fn ends it and is returned.
func (c *Client) Select(ctx context.Context, query string, in Span, limit int, fn func(event.Event) error) error {
	return c.Rows(ctx, query, in, limit, func(row map[string]string) error {
		e, err := decode(row)
		if err != nil {
			return err
		}
		return fn(e)
	})
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
	return c.stream(ctx, "/select/logsql/query", q, fn)
}

// Tail calls fn for events that a LogsQL query finds, as they come in, until
// ctx ends.
func (c *Client) Tail(ctx context.Context, query string, fn func(event.Event) error) error {
	return c.stream(ctx, "/select/logsql/tail", url.Values{"query": {query}}, func(row map[string]string) error {
		e, err := decode(row)
		if err != nil {
			return err
		}
		return fn(e)
	})
}

func (c *Client) stream(ctx context.Context, path string, q url.Values, fn func(map[string]string) error) error {
	body, err := c.do(ctx, path, q)
	if err != nil {
		return err
	}
	defer body.Close()
	d := json.NewDecoder(bufio.NewReaderSize(body, 1<<16))
	for {
		var row map[string]string
		if err := d.Decode(&row); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("log store: read answer: %w", err)
		}
		if err := fn(row); err != nil {
			return err
		}
	}
}

// decode makes an event of what the store tells of it.
func decode(row map[string]string) (e event.Event, err error) {
	for name, value := range row {
		if name == "_time" {
			name = "time"
		}
		if err := e.Set(name, value); err != nil {
			return e, err
		}
	}
	e.Time = e.Time.UTC()
	return e, nil
}

// do asks by a form and gives the body of a good answer.
func (c *Client) do(ctx context.Context, path string, form url.Values) (io.ReadCloser, error) {
	return c.post(ctx, path, "application/x-www-form-urlencoded", strings.NewReader(form.Encode()))
}

func (c *Client) post(ctx context.Context, path, kind string, body io.Reader) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, body)
	if err != nil {
		return nil, fmt.Errorf("log store: %w", err)
	}
	req.Header.Set("Content-Type", kind)
	if c.user != "" {
		req.SetBasicAuth(c.user, c.password)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("log store: %w", err)
	}
	if resp.StatusCode/100 != 2 {
		defer resp.Body.Close()
		why, _ := io.ReadAll(io.LimitReader(resp.Body, 500))
		return nil, &StatusError{Code: resp.StatusCode, Text: strings.TrimSpace(string(why))}
	}
	return resp.Body, nil
}

// StatusError is a refusal by the store.
type StatusError struct {
	Code int    // HTTP status
	Text string // the store's words
}

func (e *StatusError) Error() string { return fmt.Sprintf("log store: HTTP %d: %s", e.Code, e.Text) }
