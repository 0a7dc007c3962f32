package logstore

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/event"
)

// errIdle ends a request whose answer does not go on.
var errIdle = errors.New("no answer in time")

// stream asks for rows, one JSON object a line, and calls fn for each. It gives
// up when the store says nothing for the time of idle; 0: never.
func (c *Client) stream(ctx context.Context, path string, q url.Values, idle time.Duration, fn func(map[string]string) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if idle == 0 {
		idle = math.MaxInt64
	}
	watch := time.AfterFunc(idle, func() { cancel(errIdle) })
	defer watch.Stop()
	body, err := c.form(ctx, path, q)
	if err != nil {
		return err
	}
	defer body.Close()
	lines := bufio.NewScanner(&watched{r: body, watch: watch, idle: idle})
	lines.Buffer(make([]byte, 64<<10), maxRow)
	for lines.Scan() {
		if len(lines.Bytes()) == 0 {
			continue
		}
		var row map[string]string
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			return fmt.Errorf("log store: read answer: %w: %.200q", err, lines.Bytes())
		}
		if err := fn(row); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("log store: read answer: %w", cause(ctx, err))
	}
	return nil
}

// watched sets the watch anew for each read, and stops it while nobody reads.
type watched struct {
	r     io.Reader
	watch *time.Timer
	idle  time.Duration
}

func (w *watched) Read(p []byte) (int, error) {
	w.watch.Reset(w.idle)
	defer w.watch.Stop()
	return w.r.Read(p)
}

// decode makes an event of what the store tells of it.
func decode(row map[string]string) (e event.Event, err error) {
	for name, value := range row {
		if name == "_time" {
			name = "time"
		}
		if value == "" {
			continue // the store knows no difference to an absent field
		}
		if err := e.Set(name, value); err != nil {
			return e, err
		}
	}
	e.Time = e.Time.UTC()
	return e, nil
}

// Usage is what a store needs and holds.
type Usage struct {
	Rows     int64 `json:"rows"`
	Disk     int64 `json:"disk"`      // octets of data
	Free     int64 `json:"free"`      // octets of the disk that are left
	Memory   int64 `json:"memory"`    // octets resident, without the files that are mapped: the kernel takes those back
	Dropped  int64 `json:"dropped"`   // lines that it took and did not store, since its start
	ReadOnly bool  `json:"read_only"` // it takes no events for want of room
}

// Usage asks the store for what it needs and holds.
func (c *Client) Usage(ctx context.Context) (Usage, error) {
	m, err := c.metrics(ctx)
	if err != nil {
		return Usage{}, err
	}
	return Usage{
		Rows:     m.sum("vl_storage_rows") + m.sum(`vl_pending_rows{type="storage"}`),
		Disk:     m.sum("vl_data_size_bytes"),
		Free:     m.sum("vl_free_disk_space_bytes"),
		Memory:   m.sum("process_resident_memory_anon_bytes"),
		Dropped:  m.sum("vl_rows_dropped_total") + m.sum("vl_too_long_lines_skipped_total") + m.sum(`vl_http_errors_total{path="/insert/jsonline"}`),
		ReadOnly: m.sum("vl_storage_is_read_only") > 0,
	}, nil
}

// Started gives a mark of the start of the store's process: another one after
// each restart. Of a server it has whole seconds.
func (c *Client) Started(ctx context.Context) (string, error) {
	m, err := c.metrics(ctx)
	if err != nil {
		return "", err
	}
	for _, name := range []string{"migiwa_logstore_start_nanoseconds", "vm_app_start_timestamp"} {
		if v, ok := m[name]; ok {
			return v, nil
		}
	}
	return "", errors.New("log store: its metrics do not say when it started")
}

// metrics are a store's metrics in the text format of Prometheus: values by
// names with their labels.
type metrics map[string]string

// sum adds the values of a metric with all its labels.
func (m metrics) sum(name string) int64 {
	var sum float64
	for full, text := range m {
		if base, _, _ := strings.Cut(full, "{"); base == name || full == name {
			v, _ := strconv.ParseFloat(text, 64) // what is no number counts nothing
			sum += v
		}
	}
	return int64(sum)
}

func (c *Client) metrics(ctx context.Context) (metrics, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	body, err := c.do(ctx, http.MethodGet, "/metrics", "", nil)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	m := metrics{}
	lines := bufio.NewScanner(io.LimitReader(body, maxRow))
	for lines.Scan() {
		line := lines.Text()
		if i := strings.LastIndexByte(line, ' '); i > 0 && line[0] != '#' {
			m[line[:i]] = line[i+1:]
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("log store: read its metrics: %w", err)
	}
	return m, nil
}
