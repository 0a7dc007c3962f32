package senderauth

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

const signedLetter = "From: Ann <ann@example.jp>\r\nTo: bob@example.org\r\nSubject: Tuesday\r\nDate: Thu, 26 Nov 2026 10:00:00 +0000\r\n\r\nSee you.\r\n\r\nAnn\r\n"

func checkAll(t testing.TB, zone map[string]string, message string) []DKIMResult {
	t.Helper()
	v := &Verifier{Resolver: texts(t, zone)}
	var all [][]DKIMResult
	for _, r := range []io.Reader{strings.NewReader(message), iotest.OneByteReader(strings.NewReader(message)),
		strings.NewReader(strings.ReplaceAll(message, "\r\n", "\n"))} {
		results, _, err := v.Verify(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, results)
	}
	for _, other := range all[1:] {
		for i, r := range other {
			if r.Result != all[0][i].Result || r.Reason != all[0][i].Reason {
				t.Errorf("differs by how it is read: %+v, %+v", all[0][i], r)
			}
		}
	}
	return all[0]
}

// What our signer signs passes, and one change at a time makes it fail.
func TestVerify(t *testing.T) {
	s, zone := testSigner(t)
	signed := sign(t, s, signedLetter) + signedLetter
	for _, test := range []struct {
		name, old, new string
		want           Result
	}{
		{"as it is", "", "", Pass},
		{"white space at the end", "Ann\r\n", "Ann \t\r\n\r\n\r\n", Pass},
		{"body", "See you", "See him", Fail},
		{"subject", "Subject: Tuesday", "Subject: Friday", Fail},
		{"subject folded anew", "Subject: Tuesday", "SUBJECT:\r\n\tTuesday", Pass},
		{"another From", "To: bob", "From: eve@example.jp\r\nTo: bob", Fail},
		{"another From above", "From: Ann", "From: Eve <eve@example.jp>\r\nFrom: Ann", Fail},
		{"domain", "d=example.jp", "d=example.com", PermError},
		{"identity", "s=2026-", "i=@example.com; s=2026-", PermError},
		{"identity below", "s=2026-", "i=@sub.example.jp; s=2026-", Fail},
		{"twice", "v=1;", "v=1; v=1;", PermError},
		{"version", "v=1;", "v=2;", PermError},
		{"weak hash", "-sha256", "-sha1", PermError},
		{"longer than it is", "v=1;", "v=1; l=1000;", Fail},
		{"expired", "v=1;", "v=1; x=1000000000;", PermError},
		{"no From", "h=from:from:", "h=", PermError},
	} {
		message := signed
		if test.old != "" {
			if !strings.Contains(message, test.old) {
				t.Fatalf("%s: nothing to change in %s", test.name, message)
			}
			message = strings.ReplaceAll(message, test.old, test.new)
		}
		results := checkAll(t, zone, message)
		if len(results) != 2 {
			t.Fatalf("%s: %d results", test.name, len(results))
		}
		for _, r := range results {
			if r.Result != test.want {
				t.Errorf("%s: %s %s (%s), want %s", test.name, r.Algorithm, r.Result, r.Reason, test.want)
			}
		}
	}
}

// A field that was not signed as one that must not come again can be added, and
// then the signature says nothing of what the reader sees.
func TestAddedFromIsNoPass(t *testing.T) {
	s, zone := testSigner(t)
	signed := sign(t, s, signedLetter) + signedLetter
	weak := strings.ReplaceAll(signed, "h=from:from:", "h=from:")
	for _, r := range checkAll(t, zone, "From: eve@example.jp\r\n"+weak) {
		if r.Result == Pass {
			t.Errorf("%+v", r)
		}
	}
}

func TestPublishedKeys(t *testing.T) {
	s, zone := testSigner(t)
	signed := sign(t, s, signedLetter) + signedLetter
	name := "2026-ed25519._domainkey.example.jp"
	good := zone[name]
	for record, want := range map[string]Result{
		good: Pass, good + "; t=y": Pass, good + "; s=email": Pass, good + "; s=other": PermError, good + "; h=sha1": Fail,
		good + "; h=sha256:sha1": Pass, "k=ed25519; p=": PermError, "k=ed25519": PermError, "k=ed25519; p=AAAA": PermError,
		"v=DKIM2; " + good: PermError, strings.Replace(good, "k=ed25519", "k=rsa", 1): PermError, "nonsense": PermError,
	} {
		zone[name] = record
		for _, r := range checkAll(t, zone, signed) {
			if r.Algorithm == "ed25519-sha256" && r.Result != want {
				t.Errorf("%s: %s (%s), want %s", record, r.Result, r.Reason, want)
			}
		}
	}
}

func TestManySignaturesAreBounded(t *testing.T) {
	s, zone := testSigner(t)
	signed := sign(t, s, signedLetter) + signedLetter
	field := strings.TrimSuffix(signed, signedLetter)
	if n := len(checkAll(t, zone, strings.Repeat(field, 20)+signedLetter)); n != maxSignatures {
		t.Errorf("%d results", n)
	}
}

// Mail that others have signed, with the keys they have published.
func TestSignedByOthers(t *testing.T) {
	dir := suite(t, "02-auth/dkimpy-testdata")
	raw, err := os.ReadFile(filepath.Join(dir, "rfc6376.signed.msg"))
	if err != nil {
		t.Fatal(err)
	}
	zone := map[string]string{
		"brisbane._domainkey.football.example.com": "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
		"test._domainkey.football.example.com":     "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB",
	}
	v := &Verifier{Resolver: texts(t, zone)}
	results, _, err := v.Verify(t.Context(), strings.NewReader(string(raw)))
	if err != nil || len(results) == 0 {
		t.Fatalf("%v, %v", results, err)
	}
	for _, r := range results {
		if r.Result != Pass {
			t.Errorf("%+v", r)
		}
	}
}

func FuzzVerify(f *testing.F) {
	s, zone := testSigner(f)
	f.Add(sign(f, s, signedLetter) + signedLetter)
	f.Add("ARC-Seal: i=1; cv=none; a=rsa-sha256; d=x; s=y; b=AA==\r\nDKIM-Signature: v=1\r\n\r\n")
	v := &Verifier{Resolver: nil}
	if _, _, err := v.Verify(f.Context(), strings.NewReader(signedLetter)); err != nil {
		f.Fatal(err)
	}
	z := texts(f, zone)
	f.Fuzz(func(t *testing.T, message string) {
		v := &Verifier{Resolver: z, Now: func() time.Time { return time.Unix(1<<31, 0) }}
		if _, _, err := v.Verify(t.Context(), strings.NewReader(message)); err != nil {
			t.Fatal(err)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	s, zone := testSigner(b)
	signed := sign(b, s, signedLetter) + signedLetter
	v := &Verifier{Resolver: texts(b, zone)}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := v.Verify(b.Context(), strings.NewReader(signed)); err != nil {
			b.Fatal(err)
		}
	}
}
