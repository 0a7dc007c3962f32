// Command events measures the way of events: from the recorder through the
// journal and the shipper into the log store, and searches in it, beside grep
// over the same events as text.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/event/archive"
	"github.com/migiwa/migiwa/internal/event/logstore"
	"github.com/migiwa/migiwa/internal/event/query"
	"github.com/migiwa/migiwa/internal/event/ship"
	"github.com/migiwa/migiwa/internal/event/story"
)

func main() {
	events := flag.Int64("events", 1_000_000, "how many events")
	program := flag.String("migiwa", "bin/migiwa", "the binary, which is the log store, too")
	dir := flag.String("dir", "", "where the data is; a temporary directory when empty")
	days := flag.Int("days", 7, "days over which the events are spread")
	memory := flag.Int64("memory", 256, "MiB of memory for the log store")
	text := flag.Bool("text", true, "search the same as text with zgrep and ripgrep, too")
	seed := flag.Uint64("seed", 1, "makes the events")
	flag.Parse()
	if err := run(*events, *program, *dir, *days, *memory<<20, *text, *seed); err != nil {
		fmt.Fprintln(os.Stderr, "events:", err)
		os.Exit(1)
	}
}

// bench is one run.
type bench struct {
	dir     string
	client  *logstore.Client
	archive *archive.Archive
	world   *world
	end     time.Time // of the events
	text    *os.File  // the events as text; nil: not wanted
}

func run(events int64, program, dir string, days int, memory int64, text bool, seed uint64) error {
	program, err := filepath.Abs(program)
	if err != nil {
		return err
	}
	if dir == "" {
		if dir, err = os.MkdirTemp("", "events"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	}
	b := &bench{dir: dir, end: time.Now()}
	r, err := event.Open(event.Options{Dir: filepath.Join(dir, "journal"), Node: "mx1.example.jp", Limits: &event.Limits{File: 128 << 20}})
	if err != nil {
		return err
	}
	defer r.Close()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	store := &logstore.Supervisor{Command: []string{program, "logstore"}, Dir: filepath.Join(dir, "logstore"), Socket: filepath.Join(dir, "logstore.sock"),
		Keep: 400 * 24 * time.Hour, Memory: memory, MinFree: 256 << 20, Log: log}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		store.Run(ctx)
	}()
	defer func() {
		cancel()
		<-ended
	}()
	for begun := time.Now(); !store.Running(); time.Sleep(50 * time.Millisecond) {
		if time.Since(begun) > time.Minute {
			return fmt.Errorf("%s logstore does not answer", program)
		}
	}
	b.client = store.Client()
	b.archive = &archive.Archive{Client: b.client, Journal: r.Dir()}
	shipper := &ship.Shipper{Dir: r.Dir(), Path: filepath.Join(dir, "shipped.json"), Store: "s", Client: b.client, Events: r, Log: log}
	if text {
		if b.text, err = os.Create(filepath.Join(dir, "events.jsonl")); err != nil {
			return err
		}
	}
	span := time.Duration(days) * 24 * time.Hour
	if err := b.fill(ctx, r, shipper, events, span, seed); err != nil {
		return err
	}
	if b.text != nil {
		if err := b.writeText(events, span, seed); err != nil {
			return err
		}
	}
	return b.search(ctx)
}

// fill records the events and waits until they are found.
func (b *bench) fill(ctx context.Context, r *event.Recorder, s *ship.Shipper, events int64, span time.Duration, seed uint64) error {
	made := make([]event.Event, 0, 100_000)
	b.world = newWorld(seed, events, b.end.Add(-span), b.end, func(e event.Event) { made = append(made, e) })
	var inRecord time.Duration
	peak := int64(0)
	watching, stop := context.WithCancel(ctx)
	defer stop()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		peak = b.watchMemory(watching)
	}()
	start := time.Now()
	go s.Run(ctx)
	for b.world.made < events {
		made = made[:0]
		for len(made) < 90_000 && b.world.made < events {
			b.world.session()
		}
		for i := range made {
			began := time.Now()
			r.Record(made[i])
			inRecord += time.Since(began)
			if i%10_000 == 0 { // a site has no such rush; nothing may be dropped
				for b.recorded(int64(i), made)-r.Written() > 50_000 {
					time.Sleep(time.Millisecond)
				}
			}
		}
	}
	total := b.world.made
	for r.Written() < total {
		time.Sleep(5 * time.Millisecond)
	}
	written := time.Since(start)
	for {
		n, err := b.count(ctx)
		if err == nil && n >= total {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	found := time.Since(start)
	stop()
	<-watched
	fmt.Printf("%d events recorded, %d dropped; Record took %d ns each; on disk after %.1f s (%.0f/s), found in the store after %.1f s (%.0f/s), the making of the events included\n",
		total, r.Dropped(), inRecord.Nanoseconds()/total, written.Seconds(), float64(total)/written.Seconds(), found.Seconds(), float64(total)/found.Seconds())
	fmt.Printf("shipper: %+v\n", s.Status())
	return b.sizes(ctx, total, peak)
}

// recorded gives how many events were handed over when i of the batch were.
func (b *bench) recorded(i int64, batch []event.Event) int64 {
	return b.world.made - int64(len(batch)) + i
}

// writeText makes the same events again, as text.
func (b *bench) writeText(events int64, span time.Duration, seed uint64) error {
	buf := bufio.NewWriterSize(b.text, 1<<20)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	var failed error
	w := newWorld(seed, events, b.end.Add(-span), b.end, func(e event.Event) { failed = errors.Join(failed, enc.Encode(&e)) })
	for w.made < events {
		w.session()
	}
	return errors.Join(failed, buf.Flush())
}

func (b *bench) count(ctx context.Context) (n int64, err error) {
	err = b.client.Rows(ctx, "* | stats count() as n", logstore.Span{}, 0, func(row map[string]string) error {
		n, err = strconv.ParseInt(row["n"], 10, 64)
		return err
	})
	return n, err
}

// watchMemory gives the most memory that the store had resident.
func (b *bench) watchMemory(ctx context.Context) (peak int64) {
	for {
		select {
		case <-ctx.Done():
			return peak
		case <-time.After(500 * time.Millisecond):
			if u, err := b.client.Usage(ctx); err == nil {
				peak = max(peak, u.Memory)
			}
		}
	}
}

// sizes tells what an event takes, once the store has merged.
func (b *bench) sizes(ctx context.Context, events, peak int64) error {
	var last logstore.Usage
	for range 60 {
		u, err := b.client.Usage(ctx)
		if err != nil {
			return err
		}
		if u.Disk == last.Disk {
			break
		}
		last = u
		time.Sleep(10 * time.Second)
	}
	var journal, closed int64
	filepath.WalkDir(filepath.Join(b.dir, "journal"), func(path string, d fs.DirEntry, err error) error {
		if info, err := d.Info(); err == nil && !d.IsDir() {
			journal += info.Size()
			if strings.HasSuffix(path, ".zst") {
				closed += info.Size()
			}
		}
		return nil
	})
	fmt.Printf("octets an event: store %.1f, journal %.1f (compressed and what grows)", float64(last.Disk)/float64(events), float64(journal)/float64(events))
	fmt.Printf("\nthe store's own memory: %d MiB at most, %d MiB now\n\n", peak>>20, last.Memory>>20)
	return nil
}

// question is a kind of search, with some values to search for.
type question struct {
	name  string
	query []string
	limit int
	grep  func(query string) string // a pattern for grep -E, whose hits are compared; nil: none means the same
}

const tries = 5

func lastWord(s string) string { return s[strings.LastIndexByte(s, ' ')+1:] }

func (b *bench) search(ctx context.Context) error {
	s := &b.world.sample
	some := func(prefix string, values []string) (queries []string) {
		for i := range min(tries, len(values)) {
			queries = append(queries, prefix+values[len(values)*(i+1)/(tries+1)])
		}
		return queries
	}
	var parts, words []string
	for _, subject := range some("", s.subject) {
		parts = append(parts, `subject:"`+lastWord(subject)+`"`)
		words = append(words, `"`+lastWord(subject)+`"`)
	}
	var halves []string
	for _, from := range some("", s.from) {
		halves = append(halves, "from:*"+from[2:len(from)-9]+"*")
	}
	field := func(name string, brackets bool) func(string) string {
		return func(q string) string {
			_, v, _ := strings.Cut(q, ":")
			if brackets {
				v = "<?" + regexp.QuoteMeta(v) + ">?"
			} else {
				v = regexp.QuoteMeta(v)
			}
			return `"` + name + `":"` + v + `"`
		}
	}
	questions := []question{
		{"from: an address", some("from:", s.from), 100, field("from", true)},
		{"to: an address", some("to:", s.to), 100, field("to", true)},
		{"id: a Message-ID", some("id:", s.id), 100, field("message_id", false)},
		{"id: a trace", some("id:", s.trace), 100, field("trace", false)},
		{"ip: a source", some("ip:", s.ip), 100, field("ip", false)},
		{"ip: a /24", some("ip:", s.prefix), 100, nil},
		{"subject: a part", parts, 100, func(q string) string {
			return `"subject":"[^"]*` + regexp.QuoteMeta(strings.Trim(q[len("subject:"):], `"`))
		}},
		{"from: a part", halves, 100, func(q string) string { return `"from":"[^"]*` + regexp.QuoteMeta(strings.Trim(q[len("from:"):], "*")) }},
		{"a free word", words, 100, nil},
		{"nothing there", []string{"to:nobody.at.all@example.jp", "id:0000000000000000", "ip:192.0.2.77"}, 100, nil},
		{"the newest of all", []string{""}, 100, nil},
		{"code:5xx of the last hour", []string{"code:5xx since:1h"}, 100, nil},
	}
	fmt.Println("| search | found | first, median | first, longest | again, median | zgrep | rg -z (zst) | rg (plain) |\n|---|---|---|---|---|---|---|---|")
	for _, q := range questions {
		if err := b.ask(ctx, q); err != nil {
			return err
		}
	}
	if err := b.top(ctx); err != nil {
		return err
	}
	return b.trace(ctx)
}

// ask measures one kind of search.
func (b *bench) ask(ctx context.Context, q question) error {
	var first, again []time.Duration
	var found []string
	for _, text := range q.query {
		parsed, err := query.Parse(text, time.Now())
		if err != nil {
			return err
		}
		for i := range 4 {
			began := time.Now()
			r, err := b.archive.Find(ctx, parsed, q.limit, func(event.Event) error { return nil })
			if err = errors.Join(err, r.Journal); err != nil {
				return fmt.Errorf("%s: %w", text, err)
			}
			if took := time.Since(began); i == 0 {
				first = append(first, took)
				found = append(found, strconv.Itoa(r.Hits))
			} else {
				again = append(again, took)
			}
		}
	}
	slices.Sort(first)
	slices.Sort(again)
	row := []string{q.name, strings.Join(found, " "), ms(first[len(first)/2]), ms(first[len(first)-1]), ms(again[len(again)/2])}
	if b.text != nil && q.grep != nil {
		times, err := b.grep(ctx, q)
		if err != nil {
			return err
		}
		row = append(row, times...)
	} else {
		row = append(row, "", "", "")
	}
	fmt.Println("| " + strings.Join(row, " | ") + " |")
	return nil
}

func ms(d time.Duration) string { return fmt.Sprintf("%.0f ms", float64(d.Microseconds())/1000) }

// grep searches the text for the first of the values, with each of the tools,
// and compares the number of hits.
func (b *bench) grep(ctx context.Context, q question) (times []string, err error) {
	if err := b.pack(); err != nil {
		return nil, err
	}
	pattern := q.grep(q.query[0])
	parsed, err := query.Parse(q.query[0], time.Now())
	if err != nil {
		return nil, err
	}
	want := 0
	if _, err := b.archive.Find(ctx, parsed, 0, func(event.Event) error { want++; return nil }); err != nil {
		return nil, err
	}
	plain := b.text.Name()
	for _, command := range [][]string{{"zgrep", "-cE", pattern, plain + ".gz"}, {"rg", "-cz", pattern, plain + ".zst"}, {"rg", "-c", pattern, plain}} {
		began := time.Now()
		out, err := exec.CommandContext(ctx, command[0], command[1:]...).Output()
		took := ms(time.Since(began))
		if n, _ := strconv.Atoi(strings.TrimSpace(string(out))); n != want {
			took += fmt.Sprintf(" FOUND %d, the store %d (%v)", n, want, err)
		}
		times = append(times, took)
	}
	return times, nil
}

// pack makes the compressed twins of the text, once.
func (b *bench) pack() error {
	plain := b.text.Name()
	for _, command := range []string{"gzip -1 -k -f ", "zstd -q -3 -k -f "} {
		suffix := map[byte]string{'g': ".gz", 'z': ".zst"}[command[0]]
		if _, err := os.Stat(plain + suffix); err == nil {
			continue
		}
		if out, err := exec.Command("sh", "-c", command+plain).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", command, err, out)
		}
	}
	return nil
}

// top counts the sources of the last hour.
func (b *bench) top(ctx context.Context) error {
	q, err := query.Parse("kind:rcpt since:1h", time.Now())
	if err != nil {
		return err
	}
	var times []time.Duration
	var top []archive.Count
	for range 4 {
		began := time.Now()
		if top, _, err = b.archive.Top(ctx, q, "ip", 10); err != nil {
			return err
		}
		times = append(times, time.Since(began))
	}
	fmt.Printf("| top sources of the last hour | %d | %s | | %s | | | |\n", len(top), ms(times[0]), ms(times[2]))
	return nil
}

// trace tells stories.
func (b *bench) trace(ctx context.Context) error {
	f := &story.Finder{Archive: b.archive}
	var times []time.Duration
	sentences := 0
	for i := range min(tries, len(b.world.sample.id)) {
		began := time.Now()
		stories, _, err := f.Find(ctx, b.world.sample.id[i*len(b.world.sample.id)/tries], time.Now())
		if err != nil {
			return err
		}
		times = append(times, time.Since(began))
		sentences += len(stories[0].Sentences)
	}
	slices.Sort(times)
	fmt.Printf("| trace of a Message-ID | %d sentences | %s | %s | | | | |\n", sentences, ms(times[len(times)/2]), ms(times[len(times)-1]))
	return nil
}
