package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

const good = "hostname = \"mx.example.jp\"\ndomain = \"example.jp\"\n"

func TestBrokenConfigurations(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.toml")
	if err != nil || len(files) < 20 {
		t.Fatalf("found %d broken configurations, want at least 20 (%v)", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for line := range strings.Lines(string(text)) {
				if w, ok := strings.CutPrefix(line, "# want: "); ok {
					want = append(want, strings.TrimSuffix(w, "\n"))
				}
			}
			_, err = Parse("FILE", text)
			var got Problems
			if !errors.As(err, &got) {
				t.Fatalf("accepted, or no problems: %v", err)
			}
			if len(got) != len(want) {
				t.Fatalf("got %d problems, want %d:\n%v", len(got), len(want), got)
			}
			for i := range want {
				// An expectation that ends in ": " leaves the reason to the TOML library.
				if s := got[i].String(); s != want[i] && !(strings.HasSuffix(want[i], ": ") && strings.HasPrefix(s, want[i])) {
					t.Errorf("got  %s\nwant %s", s, want[i])
				}
			}
		})
	}
}

// TestEveryKeyRefusesAWrongValue gives each key a value of a wrong type and
// expects the line, so that no key is read without being checked.
func TestEveryKeyRefusesAWrongValue(t *testing.T) {
	for _, k := range Keys() {
		if k.Doc == "" || k.Type == "" || k.Default == "" {
			t.Errorf("%s: lacks doc, type or default: %+v", k.Name, k)
		}
		section, key := "", k.Name
		if i := strings.LastIndex(k.Name, "."); i >= 0 {
			section, key = "["+k.Name[:i]+"]\n", k.Name[i+1:]
			if table, ok := strings.CutSuffix(k.Name[:i], "[]"); ok {
				section = "[[" + table + "]]\n"
			}
		}
		text := section + key + " = { x = 1 }\n"
		if _, err := Parse("FILE", []byte(text)); err == nil {
			t.Errorf("%s takes a table", k.Name)
		} else if line := strings.Count(text, "\n"); !strings.HasPrefix(err.Error(), fmt.Sprintf("FILE:%d: ", line)) {
			t.Errorf("%s: no line in %q", k.Name, err)
		}
	}
}

func TestDefaultsHold(t *testing.T) {
	c, err := Parse("/etc/migiwa/migiwa.toml", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	if c.DataDir != "/etc/migiwa/data" {
		t.Errorf("data_dir %q is not beside the file", c.DataDir)
	}
	out, err := toml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse("/etc/migiwa/migiwa.toml", out)
	if err != nil {
		t.Fatalf("what config print prints is refused: %v\n%s", err, out)
	}
	if fmt.Sprint(*again) != fmt.Sprint(*c) {
		t.Errorf("printed and read again:\n%v\nwant\n%v", *again, *c)
	}
}

func TestValues(t *testing.T) {
	for text, want := range map[string]string{"90s": "1m30s", "5m": "5m", "120h": "5d", "5d": "5d", "4h": "4h", "0s": "0s"} {
		var d Duration
		if err := d.UnmarshalText([]byte(text)); err != nil || d.String() != want {
			t.Errorf("%s: %v %v, want %s", text, d, err, want)
		}
	}
	for text, want := range map[string]string{"0": "0 B", "512": "512 B", "64 KiB": "64 KiB", "1024KiB": "1 MiB", "2 GiB": "2 GiB"} {
		var z Size
		if err := z.UnmarshalText([]byte(text)); err != nil || z.String() != want {
			t.Errorf("%s: %v %v, want %s", text, z, err, want)
		}
	}
}
