package directory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

const sampleHash = "$5$abc$sCOGUciM.GdmYMCUvmUcgu03oRH87O0clF96.9mwWGB"

func (s *site) load(text string, im Import) (Imported, error) {
	return s.Import(context.Background(), strings.NewReader(text), im)
}

func (s *site) dump() string {
	s.t.Helper()
	var out bytes.Buffer
	if err := s.Export(context.Background(), &out, ""); err != nil {
		s.t.Fatal(err)
	}
	return out.String()
}

func TestImport(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		ctx := context.Background()
		s := newSite(t, d)
		s.domain("a.test", nil)
		s.domain("xn--wgv71a119e.test", nil)
		s.account("old@a.test", func(a *Account) { a.Name, a.Quota = "Old", 3*Megabyte })
		text := "\xef\xbb\xbfname,address,password,state,forward_to,quota_mb\r\n" +
			"\"Bob, \"\"the\"\" Builder\",Bob@a.test,secret,,\"x@else.test y@else.test\",100\r\n" +
			"漢字,漢@日本語.test," + sampleHash + ",disabled,,-1\r\n" +
			"\r\n" +
			"Older,OLD@a.test,,active,,\r\n"
		want := Imported{Added: 2, Changed: 1}
		if got, err := s.load(text, Import{DryRun: true}); got != want || err != nil {
			t.Fatalf("dry run: %+v, %v", got, err)
		}
		s.want("bob@a.test", "unknown")
		calls := 0
		got, err := s.load(text, Import{Progress: func(done, total int) { calls++ }})
		if got != want || err != nil || calls != 1 {
			t.Fatalf("%+v, %v, %d calls", got, err, calls)
		}
		s.want("bob@a.test", "known to:x@else.test(kept) to:y@else.test(kept)")
		s.want("漢@日本語.test", "disabled")
		if _, err := s.Verify(ctx, "bob@a.test", "secret"); err != nil {
			t.Error(err)
		}
		if old, err := s.Account(ctx, addr(t, "old@a.test")); err != nil || old.Name != "Older" || old.Quota != 0 || old.Address.Wire != "old@a.test" {
			t.Errorf("%+v, %v", old, err)
		}
		before := s.dump()
		if got, err := s.load(text, Import{}); got != (Imported{Same: 3}) || err != nil {
			t.Errorf("again: %+v, %v", got, err)
		}
		if got, err := s.load(before, Import{}); got != (Imported{Same: 3}) || err != nil {
			t.Errorf("own export: %+v, %v", got, err)
		}
		if after := s.dump(); after != before {
			t.Errorf("changed:\n%s\n%s", before, after)
		}
		if got, err := s.load("address,name\nbob@a.test,B\n", Import{}); got != (Imported{Changed: 1}) || err != nil {
			t.Errorf("one column: %+v, %v", got, err)
		}
		s.want("bob@a.test", "known to:x@else.test(kept) to:y@else.test(kept)")
		if _, err := s.Verify(ctx, "bob@a.test", "secret"); err != nil {
			t.Error(err)
		}
	})
}

func TestExportRoundTrips(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		s := newSite(t, d)
		s.domain("a.test", nil)
		s.forward("Z@a.test", `"odd one"@else.test x@else.test`, false)
		s.account(`"q\"uo,te"@a.test`, func(a *Account) { a.Name = ` lead "and" trail, ` })
		s.account("é@a.test", func(a *Account) { a.Quota = NoQuota })
		s.account("_under@a.test", func(a *Account) { a.State = Blocked })
		s.password(s.account("big@a.test", func(a *Account) { a.Quota = 7 * Megabyte }), sampleHash)
		first := s.dump()
		fresh := newSite(t, dbtest.SQLite(t))
		fresh.domain("a.test", nil)
		if _, err := fresh.load(first, Import{}); err != nil {
			t.Fatal(err)
		}
		if second := fresh.dump(); second != first || strings.Count(first, "\n") != 6 {
			t.Errorf("first:\n%s\nsecond:\n%s", first, second)
		}
	})
}

func TestImportFaults(t *testing.T) {
	s := newSite(t, dbtest.SQLite(t))
	s.domain("a.test", nil)
	s.account("bob@a.test", nil)
	s.alias("al@a.test", "bob@a.test")
	before := s.dump()
	for _, c := range []struct {
		text  string
		lines []int
		want  string
	}{
		{"", []int{1}, "header"},
		{"name\nx\n", []int{1}, "address is missing"},
		{"address,nmae\nx@a.test,y\n", []int{1}, `unknown column "nmae"`},
		{"address,address\n", []int{1}, "twice"},
		{"address\nnew@a.test\nnot an address\n", []int{3}, "invalid mail address"},
		{"address,name\nnew@a.test,\"a\nb\"\nx@a.test,y\n", []int{2}, "name"},
		{"address\nnew@b.test\n", []int{2}, "does not exist"},
		{"address\nal@a.test\n", []int{2}, "alias al@a.test: exists already"},
		{"address\nnew@a.test\n\nNEW@a.test\n", []int{4}, "on line 2 already"},
		{"address,quota_mb\nnew@a.test,1.5\nx@a.test,-2\ny@a.test,99999999999999999999\n", []int{2, 3, 4}, "quota_mb"},
		{"address,state\nnew@a.test,on\n", []int{2}, "state"},
		{"address,forward_to\nnew@a.test,a@b.test;c@d.test\n", []int{2}, "forward_to"},
		{"address,password\nnew@a.test,$6$broken\n", []int{2}, "hash"},
		{"address,password\nnew@a.test,a\tb\n", []int{2}, "password"},
		{"address,name\nnew@a.test\nx@a.test,y,z\n", []int{2, 3}, "wrong number of fields"},
		{"address,name\nnew@a.test,a\"b\nok@a.test,x\n\"c,d\n", []int{2, 4}, "quote"},
	} {
		_, err := s.load(c.text, Import{})
		var bad FileError
		if !errors.As(err, &bad) {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		var lines []int
		for _, l := range bad {
			lines = append(lines, l.Line)
		}
		if fmt.Sprint(lines) != fmt.Sprint(c.lines) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: lines %v, want %v: %v", c.text, lines, c.lines, err)
		}
	}
	if after := s.dump(); after != before {
		t.Errorf("a bad file left traces:\n%s", after)
	}
}

func TestImportFailsWhole(t *testing.T) {
	s := newSite(t, dbtest.SQLite(t))
	s.domain("a.test", func(s *DomainSettings) { s.MaxAccounts = 1 })
	before := s.dump()
	if _, err := s.load("address\none@a.test\ntwo@a.test\n", Import{}); err == nil || !strings.Contains(err.Error(), "line 3") {
		t.Errorf("%v", err)
	}
	if after := s.dump(); after != before {
		t.Errorf("half of it was applied:\n%s", after)
	}
}

func TestImportMany(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		s := newSite(t, d)
		s.domain("a.test", nil)
		const n = 10_000
		var text strings.Builder
		text.WriteString("address,name,password,quota_mb,forward_to,state\n")
		for i := range n {
			fmt.Fprintf(&text, "user%05d@a.test,User %d,%s,100,,active\n", i, i, sampleHash)
		}
		start := time.Now()
		if got, err := s.load(text.String(), Import{}); err != nil || got.Added != n {
			t.Fatalf("%+v, %v", got, err)
		}
		imported := time.Since(start)
		if got := s.dump(); got != text.String() {
			t.Error("the export differs from what was imported")
		}
		t.Logf("%d accounts imported in %v, exported in %v", n, imported, time.Since(start)-imported)
	})
}

// FuzzAccountsFile: a file without faults, written as Export writes it, reads
// as the same accounts.
func FuzzAccountsFile(f *testing.F) {
	f.Add("address,name,password,quota_mb,forward_to,state\nbob@a.test,\"B, b\",x,5,a@b.test \"c d\"@e.test,disabled\n")
	f.Add("\xef\xbb\xbfname,address\r\n漢字,漢@日本語.test\r\n")
	f.Add("address\n\"\"\"q q\"\"@a.test\"\n")
	f.Add("address,name\na@a.test,\"x\n")
	f.Fuzz(func(t *testing.T, text string) {
		first, err := readAccounts(strings.NewReader(text))
		if err != nil {
			t.Fatalf("a string cannot fail to be read: %v", err)
		}
		if len(first.bad) > 0 {
			return
		}
		var out strings.Builder
		if err := writeLines(&out, first.lines); err != nil {
			t.Fatal(err)
		}
		second, err := readAccounts(strings.NewReader(out.String()))
		if err != nil || len(second.bad) > 0 {
			t.Fatalf("%q written as %q: %v %v", text, out.String(), second.bad, err)
		}
		if got, want := shorten(second.lines), shorten(first.lines); got != want {
			t.Fatalf("%q\n%q\n%s\n%s", text, out.String(), got, want)
		}
	})
}

func writeLines(out *strings.Builder, lines []line) error {
	w := accountsWriter(out)
	for _, l := range lines {
		a := l.account
		a.credential.Hash = l.password
		if err := w.Write(record(a)); err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}

func shorten(lines []line) string {
	var out strings.Builder
	for _, l := range lines {
		a := l.account
		fmt.Fprintf(&out, "%q %q %q %d %q %s\n", a.Address.Wire, a.Name, l.password, a.Quota, FormatList(a.Forward), a.State)
	}
	return out.String()
}

func FuzzParseList(f *testing.F) {
	f.Add(`a@b.test "c \" d"@e.test  f@g.test`)
	f.Fuzz(func(t *testing.T, s string) {
		list, err := ParseList(s)
		if err != nil {
			return
		}
		again, err := ParseList(FormatList(list))
		if err != nil || FormatList(again) != FormatList(list) || len(again) != len(list) {
			t.Fatalf("%q: %v, %v", s, again, err)
		}
		for _, a := range list {
			if _, err := mail.ParseAddress(a.Wire); err != nil {
				t.Fatal(err)
			}
		}
	})
}
