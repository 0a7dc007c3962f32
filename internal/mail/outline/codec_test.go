package outline

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

func TestRoundTrip(t *testing.T) {
	for _, raw := range []string{sample, "", "x", "Date: x\r\nSubject:\r\n\r\n"} {
		o := read(t, raw)
		b := o.Append(nil)
		again, err := Decode(b)
		if err != nil || !same(o, again) {
			t.Errorf("%v\n%+v\n%+v", err, o, again)
		}
		for n := range b {
			if _, err := Decode(b[:n]); !errors.Is(err, ErrFormat) {
				t.Fatalf("%d of %d octets: %v", n, len(b), err)
			}
		}
	}
}

// same tells whether two outlines say the same.
func same(a, b *Outline) bool {
	x, y := *a, *b
	x.root, x.tree, y.root, y.tree = nil, "", nil, ""
	return reflect.DeepEqual(x, y) && reflect.DeepEqual(a.Root(), b.Root())
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(sample))
	f.Fuzz(func(t *testing.T, raw []byte) {
		o, err := Read(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		checkPart(t, o.Root(), int64(len(raw)))
		Addresses(o.Envelope.From)
		if again, err := Decode(o.Append(nil)); err != nil || !same(o, again) {
			t.Fatalf("%v\n%+v\n%+v", err, o, again)
		}
	})
}

// checkPart checks that places are inside the message.
func checkPart(t *testing.T, p *Part, size int64) {
	if p.HeaderOffset < 0 || p.HeaderSize < 0 || p.BodyOffset != p.HeaderOffset+p.HeaderSize || p.BodySize < 0 || p.BodyOffset+p.BodySize > size {
		t.Fatalf("header %d+%d, body %d+%d of %d", p.HeaderOffset, p.HeaderSize, p.BodyOffset, p.BodySize, size)
	}
	for i := range p.Children {
		checkPart(t, &p.Children[i], size)
	}
}

func FuzzDecode(f *testing.F) {
	o, err := Read(bytes.NewReader([]byte(sample)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(o.Append(nil)[head:])
	f.Fuzz(func(t *testing.T, fields []byte) {
		b := append([]byte{version, 0, 0, 0, 0}, fields...)
		binary.BigEndian.PutUint32(b[1:], checksum(fields))
		o, err := Decode(b)
		if err != nil {
			return
		}
		whole := o.Root()
		o.tree = "" // so that Append encodes
		if whole.Kind == Message && len(whole.Children) != 1 {
			t.Fatalf("%+v", whole)
		}
		again, err := Decode(o.Append(nil))
		if err != nil || !same(o, again) {
			t.Fatalf("%v\n%+v\n%+v", err, o, again)
		}
	})
}

func FuzzAddresses(f *testing.F) {
	f.Add(`g: "a" <@x,@y:a.b@c>, (c) d@[1.2.3.4] (e);, =?utf-8?q?x?= <>`)
	f.Fuzz(func(t *testing.T, value string) {
		for _, a := range Addresses(value) {
			if a.Role == Mailbox && a.Host == "" {
				t.Fatalf("%+v", a)
			}
		}
	})
}

func FuzzStripHTML(f *testing.F) {
	f.Add([]byte(`<p class="a>b">x&amp;y</p><!-- c --><script>if(a<b)</script><style>`))
	f.Fuzz(func(t *testing.T, in []byte) {
		whole, err := io.ReadAll(StripHTML(bytes.NewReader(in)))
		if err != nil || len(whole) > 2*len(in) {
			t.Fatalf("%v: %d octets of %d", err, len(whole), len(in))
		}
		pieces, err := io.ReadAll(StripHTML(iotest.OneByteReader(bytes.NewReader(in))))
		if err != nil || !bytes.Equal(whole, pieces) {
			t.Fatalf("%v: %q in pieces, %q whole", err, pieces, whole)
		}
	})
}

func BenchmarkRead(b *testing.B) {
	for name, raw := range map[string]string{
		"small": sample,
		"large": sample + "\r\n--o\r\nContent-Transfer-Encoding: base64\r\n\r\n" + string(bytes.Repeat([]byte("QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVowMTIzNDU2Nzg5QUJDREVGR0hJSktMTU5PUFFSU1RV\r\n"), 100_000)) + "--o--\r\n",
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Read(strings.NewReader(raw)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	o, err := Read(bytes.NewReader([]byte(sample)))
	if err != nil {
		b.Fatal(err)
	}
	enc := o.Append(nil)
	for name, parts := range map[string]bool{"head": false, "parts": true} {
		b.Run(name, func(b *testing.B) {
			b.ReportMetric(float64(len(enc)), "octets")
			b.ReportAllocs()
			for b.Loop() {
				o, err := Decode(enc)
				if err != nil {
					b.Fatal(err)
				}
				if parts {
					o.Root()
				}
			}
		})
	}
}
