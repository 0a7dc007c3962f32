package senderauth

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/emersion/go-msgauth/dkim"

	"github.com/migiwa/migiwa/internal/mail"
)

// keys are generated once: RSA takes its time.
func testSigner(t testing.TB) (*Signer, map[string]string) {
	t.Helper()
	s, zone := &Signer{}, map[string]string{}
	for _, alg := range []Algorithm{RSA, Ed25519} {
		k, err := GenerateKey(alg)
		if err != nil {
			t.Fatal(err)
		}
		s.Keys = append(s.Keys, SigningKey{Domain: "example.jp", Selector: "2026-" + string(alg), Key: k})
		zone["2026-"+string(alg)+"._domainkey.example.jp"] = k.Record()
	}
	return s, zone
}

// verify asks go-msgauth, an implementation that shares no code with ours.
func verify(t testing.TB, zone map[string]string, message string) []*dkim.Verification {
	t.Helper()
	v, err := dkim.VerifyWithOptions(strings.NewReader(message), &dkim.VerifyOptions{LookupTXT: func(name string) ([]string, error) {
		if txt, ok := zone[name]; ok {
			return []string{txt}, nil
		}
		return nil, errors.New("no such name: " + name)
	}})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func sign(t testing.TB, s *Signer, message string) string {
	t.Helper()
	r := bufio.NewReader(strings.NewReader(message))
	h, err := mail.ReadHeader(r, mail.DefaultHeaderLimits())
	if err != nil {
		t.Fatal(err)
	}
	fields, err := s.Sign(h, iotest.OneByteReader(r))
	if err != nil {
		t.Fatal(err)
	}
	return fields
}

const message = "Received: from x\r\n\tby y\r\nFROM :  =?utf-8?B?5rGA?=\r\n\t<a@example.jp>\r\nTo: b@example.com,\r\n c@example.com\r\n" +
	"Subject:  Two   spaces \r\nDate: Tue, 24 Nov 2026 01:51:41 +0000\r\nMessage-ID: <1@example.jp>\r\nList-Id: x\r\nlist-id: y\r\n" +
	"Content-Type: text/plain\r\n\r\nHello \t world  \r\n\r\n  \r\nend \t\r\n\r\n\r\n"

func TestSignVerifies(t *testing.T) {
	s, zone := testSigner(t)
	s.Expire = time.Hour
	for name, msg := range map[string]string{
		"usual":             message,
		"empty body":        "From: a@example.jp\r\n\r\n",
		"blank body":        "From: a@example.jp\r\n\r\n\r\n \r\n",
		"no final line end": "From: a@example.jp\r\n\r\nx",
		"many empty lines":  "From: a@example.jp\r\n\r\na" + strings.Repeat("\r\n", 20000) + "b\r\n",
		"CR in text":        "From: a@example.jp\r\n\r\na\rb \r\n",
		"utf-8":             "From: 汀 <汀@example.jp>\r\nSubject: 渚\r\n\r\n汀\r\n",
		"spaces":            "From: a@example.jp\r\n\r\n \t x\t\ty \r\n z\r\n",
	} {
		fields := sign(t, s, msg)
		for line := range strings.SplitSeq(strings.TrimSuffix(fields, "\r\n"), "\r\n") {
			if len(line) > 78 {
				t.Errorf("%s: long line %q", name, line)
			}
		}
		got := verify(t, zone, fields+msg)
		if len(got) != 2 {
			t.Fatalf("%s: %d signatures", name, len(got))
		}
		for _, v := range got {
			if v.Err != nil || v.Domain != "example.jp" || v.Expiration.Sub(v.Time) != time.Hour {
				t.Errorf("%s: %+v", name, v)
			}
		}
	}
}

func TestSignatureBreaks(t *testing.T) {
	s, zone := testSigner(t)
	fields := sign(t, s, message)
	for name, edit := range map[string]func(string) string{
		"body":           func(m string) string { return strings.Replace(m, "end", "And", 1) },
		"subject":        func(m string) string { return strings.Replace(m, "Two", "two", 1) },
		"second From":    func(m string) string { return "From: x@evil.example\r\n" + m },
		"second Subject": func(m string) string { return "Subject: evil\r\n" + m },
		"new Reply-To":   func(m string) string { return "Reply-To: x@evil.example\r\n" + m },
		"new CTE":        func(m string) string { return "Content-Transfer-Encoding: base64\r\n" + m },
		"list-id gone":   func(m string) string { return strings.Replace(m, "list-id: y\r\n", "", 1) },
	} {
		for _, v := range verify(t, zone, fields+edit(message)) {
			if v.Err == nil {
				t.Errorf("%s: still valid", name)
			}
		}
	}
	for name, edit := range map[string]func(string) string{
		"trace":       func(m string) string { return "Received: from z\r\n" + m },
		"folding":     func(m string) string { return strings.Replace(m, "com,\r\n c@", "com, c@", 1) },
		"empty lines": func(m string) string { return m + "\r\n" },
		"sender":      func(m string) string { return "Sender: list@example.com\r\n" + m },
	} {
		for _, v := range verify(t, zone, fields+edit(message)) {
			if v.Err != nil {
				t.Errorf("%s: %v", name, v.Err)
			}
		}
	}
}

func TestSignErrors(t *testing.T) {
	s, _ := testSigner(t)
	if _, err := s.Sign(mail.ParseHeader([]byte("To: a@b\r\n\r\n")), strings.NewReader("")); !errors.Is(err, ErrNoFrom) {
		t.Error(err)
	}
	boom := errors.New("boom")
	if _, err := s.Sign(mail.ParseHeader([]byte("From: a@b\r\n\r\n")), iotest.ErrReader(boom)); !errors.Is(err, boom) {
		t.Error(err)
	}
	for _, k := range []SigningKey{
		{Domain: "example.jp", Selector: "a"}, {Domain: "", Selector: "a", Key: s.Keys[1].Key}, {Domain: "[192.0.2.1]", Selector: "a", Key: s.Keys[1].Key},
		{Domain: "example.jp", Selector: "a; d=evil", Key: s.Keys[1].Key}, {Domain: "Example.JP", Selector: "a", Key: s.Keys[1].Key},
	} {
		if got, err := (&Signer{Keys: []SigningKey{k}}).Sign(mail.ParseHeader([]byte("From: a@b\r\n\r\n")), strings.NewReader("")); !errors.Is(err, ErrKey) {
			t.Errorf("%+v: %q %v", k, got, err)
		}
	}
}

func TestKeys(t *testing.T) {
	for _, alg := range []Algorithm{RSA, Ed25519} {
		k, err := GenerateKey(alg)
		if err != nil || k.Algorithm() != alg {
			t.Fatal(err)
		}
		text, err := k.PEM()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseKey(text)
		if err != nil || again.Record() != k.Record() || !strings.HasPrefix(k.Record(), "v=DKIM1; k="+string(alg)+"; p=") {
			t.Errorf("%v %q", err, again.Record())
		}
		joined := ""
		for i, part := range strings.Split(ZoneText(k.Record()), `"`) {
			if i%2 == 1 {
				if joined += part; len(part) > 255 {
					t.Error("string too long")
				}
			}
		}
		if joined != k.Record() {
			t.Errorf("%q", joined)
		}
	}
	for _, bad := range []string{"", "x", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"} {
		if _, err := ParseKey([]byte(bad)); !errors.Is(err, ErrKey) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := GenerateKey("dsa"); !errors.Is(err, ErrKey) {
		t.Error(err)
	}
	if (Key{}).Record() != "" || !(Key{}).IsZero() {
		t.Error("zero key")
	}
}

// TestRFC8463 is the example of RFC 8463 appendix A.
func TestRFC8463(t *testing.T) {
	const msg = "From: Joe SixPack <joe@football.example.com>\r\nTo: Suzie Q <suzie@shopping.example.net>\r\nSubject: Is dinner ready?\r\n" +
		"Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\nMessage-ID: <20030712040037.46341.5F8J@football.example.com>\r\n\r\n" +
		"Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n"
	const before = "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n d=football.example.com; i=@football.example.com;\r\n" +
		" q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n subject : date : message-id : from : subject : date;\r\n" +
		" bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n b="
	const want = "/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw=="
	seed, _ := base64.StdEncoding.DecodeString("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
	k := Key{ed25519.NewKeyFromSeed(seed)}
	if k.Record() != "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=" {
		t.Error(k.Record())
	}
	header, body, _ := strings.Cut(msg, "\r\n\r\n")
	h := NewBodyHash()
	io.WriteString(h, body)
	if got := base64.StdEncoding.EncodeToString(h.Sum()); got != "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=" {
		t.Error("body hash", got)
	}
	data := ""
	for line := range strings.SplitSeq(header, "\r\n") {
		data += relaxedHeader(line + "\r\n")
	}
	// h= has the fields in another order than they stand in.
	lines := strings.SplitAfter(data, "\r\n")
	sum := sha256.Sum256([]byte(strings.Join(lines, "") + strings.TrimSuffix(relaxedHeader(before), "\r\n")))
	sig, err := k.sign(sum)
	if got := base64.StdEncoding.EncodeToString(sig); err != nil || got != want {
		t.Errorf("signature %s %v", got, err)
	}
}

func testData(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("MIGIWA_TESTDATA")
	if dir == "" {
		_, file, _, _ := runtime.Caller(0)
		dir = filepath.Join(filepath.Dir(file), "..", "..", "..", "shared", "data")
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no test material: %v (set MIGIWA_TESTDATA)", err)
	}
	return path
}

// TestForeignKeysAndMessages signs messages of another implementation's tests
// with its keys.
func TestForeignKeysAndMessages(t *testing.T) {
	dir := testData(t, "02-auth/dkimpy-testdata")
	zone := map[string]string{}
	s := &Signer{}
	for _, name := range []string{"2048_testkey.key", "2048_testkey_PKCS8.key", "1024_testkey.key"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		k, err := ParseKey(text)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		selector := strings.ReplaceAll(strings.ToLower(strings.TrimSuffix(name, ".key")), "_", "-")
		s.Keys = append(s.Keys, SigningKey{"example.jp", selector, k})
		zone[selector+"._domainkey.example.jp"] = k.Record()
	}
	for _, name := range []string{"test.message", "test2.message", "test_extra.message", "rfc6376.msg", "rfc6376.w1258.msg", "ed25519test.msg"} {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		msg := string(bytes.ReplaceAll(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n")))
		ours := 0
		for _, v := range verify(t, zone, sign(t, s, msg)+msg) {
			if v.Domain != "example.jp" {
				continue
			}
			if ours++; v.Err != nil {
				t.Errorf("%s: %v", name, v.Err)
			}
		}
		if ours != 3 {
			t.Errorf("%s: %d signatures", name, ours)
		}
	}
}

// TestLineEnds: a message kept with bare LF gets the signature of what is sent.
func TestLineEnds(t *testing.T) {
	for _, body := range []string{"", "\r\n", "a\r\n", "a \r\n\r\nb\r\n\r\n", " \r\n"} {
		crlf, lf := NewBodyHash(), NewBodyHash()
		io.WriteString(crlf, body)
		io.WriteString(lf, strings.ReplaceAll(body, "\r\n", "\n"))
		if !bytes.Equal(crlf.Sum(), lf.Sum()) {
			t.Errorf("%q", body)
		}
	}
}

func TestBodyHashMemory(t *testing.T) {
	h := NewBodyHash()
	block := []byte(strings.Repeat("\r\n", 1<<15))
	for range 100 {
		h.Write(block)
	}
	h.Write([]byte("x"))
	if cap(h.out) > 64<<10 {
		t.Errorf("%d octets kept", cap(h.out))
	}
}

func FuzzSign(f *testing.F) {
	f.Add([]byte("a \r\n\r\nb"), "x \r\n y")
	f.Add([]byte(" \t\r\n"), "")
	s := &Signer{}
	k, err := GenerateKey(Ed25519)
	if err != nil {
		f.Fatal(err)
	}
	s.Keys = []SigningKey{{"example.jp", "s", k}}
	zone := map[string]string{"s._domainkey.example.jp": k.Record()}
	f.Fuzz(func(t *testing.T, body []byte, subject string) {
		// What SMTP lets through; the two implementations differ on a bare CR.
		if n := bytes.Count(body, []byte("\r\n")); bytes.Count(body, []byte("\n")) != n || bytes.Count(body, []byte("\r")) != n {
			return
		}
		h := mail.ParseHeader([]byte("From: a@example.jp\r\n\r\n"))
		h.Add("Subject", subject)
		h.Add("To", "b@example.com")
		fields, err := s.Sign(h, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		msg := fields + string(h.Bytes()) + string(body)
		for _, v := range verify(t, zone, msg) {
			if v.Err != nil {
				t.Errorf("%q: %v", msg, v.Err)
			}
		}
	})
}
