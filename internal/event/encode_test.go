package event

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestEncodingIsThatOfTheLibrary compares random events, fields empty or not,
// with all that has to be escaped.
func TestEncodingIsThatOfTheLibrary(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 3))
	pieces := []string{"", "a", "<b@c>", `"`, `\`, "\n\r\t\b\f", "\x00\x1f\x7f", "é", "会議", "\u2028\u2029", "\xff\xc3", "\ufffd", "😀", "&<>"}
	for range 5000 {
		var e Event
		v := reflect.ValueOf(&e).Elem()
		for i := range v.NumField() {
			if r.IntN(3) == 0 {
				continue
			}
			switch f := v.Field(i); f.Kind() {
			case reflect.String:
				var s strings.Builder
				for range r.IntN(4) {
					s.WriteString(pieces[r.IntN(len(pieces))])
				}
				f.SetString(s.String())
			case reflect.Int, reflect.Int64:
				f.SetInt(r.Int64() - r.Int64())
			case reflect.Uint16:
				f.SetUint(r.Uint64() % 65536)
			case reflect.Float32:
				f.SetFloat([]float64{1.5, -0.25, 1e-9, 3e30, 100, 0.1, -7e-7, 1e21}[r.IntN(8)])
			}
		}
		e.Time = time.Unix(r.Int64N(1<<33), r.Int64N(1e9)).UTC()
		if r.IntN(2) == 0 {
			e.IP = netip.MustParseAddr([]string{"192.0.2.1", "2001:db8::1"}[r.IntN(2)])
		}
		var want bytes.Buffer
		enc := json.NewEncoder(&want)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(&e); err != nil {
			t.Fatal(err)
		}
		if got := e.appendJSON(nil); string(got) != want.String() {
			t.Fatalf("seed %d\ngot  %q\nwant %q", seed, got, want.String())
		}
	}
}

func TestWhatIsNoNumberIsLeftOut(t *testing.T) {
	zero := float32(0)
	for _, score := range []float32{zero / zero, 1 / zero, -1 / zero} {
		e := Event{Time: time.Unix(1, 0), Kind: Rcpt, Score: score}
		if got, ok := Parse(e.appendJSON(nil)); !ok || got.Score != 0 {
			t.Errorf("%v: %+v, %v", score, got, ok)
		}
	}
}

var benchEvent = Event{Time: time.Now().UTC(), Node: "mx1.example.jp", Kind: Rcpt, Trace: "ywd6h4yczhzk99wy", Role: "mx", IP: netip.MustParseAddr("192.0.2.7"), Port: 4711,
	Helo: "mail.example.net", TLS: "TLS 1.3 TLS_AES_128_GCM_SHA256", From: "<hanako@example.net>", To: "taro@example.jp", Code: 250, Verdict: "answer", Why: "proven",
	Truth: "exists", Name: "mail.example.net", SPF: "pass", Identity: "example.net", Score: -4.5}

// BenchmarkRecord is what recording costs who records.
func BenchmarkRecord(b *testing.B) {
	r, err := Open(Options{Dir: b.TempDir(), Node: "mx1.example.jp"})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		r.Record(benchEvent)
		if i%50_000 == 0 {
			for r.Written() < int64(i) && r.Dropped() == 0 {
				time.Sleep(time.Millisecond)
			}
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = benchEvent.appendJSON(buf[:0])
	}
}
