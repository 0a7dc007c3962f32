package digest

import (
	"encoding/base64"
	"fmt"
	"mime/quotedprintable"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/encoding/japanese"

	"github.com/migiwa/migiwa/internal/filter"
)

func read(t testing.TB, raw string) *filter.Message {
	t.Helper()
	m, err := filter.FromBytes(filter.Envelope{}, []byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func plain(text string) string {
	return "To: Mio Tanaka <mio.tanaka@example.jp>\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + text
}

// alikeness gives how many near fingerprints of the first text two messages
// have in common, and whether an exact one is.
func alikeness(a, b []Print) (near int, exact bool) {
	for _, p := range a {
		if slices.Contains(b, p) {
			if p.Kind == Near {
				near++
			} else {
				exact = true
			}
		}
	}
	return near, exact
}

const pitch = `Dear customer,

your parcel could not be delivered because the address on the label was incomplete.
Please confirm the delivery address and pay the small customs fee within two days,
otherwise the parcel will be returned to the sender. Our courier will try again on the
next working day after the payment was received. Thank you for choosing our service and
have a pleasant day. The team of your parcel service.
`

const pitchJapanese = `お客様各位

いつも当銀行をご利用いただき誠にありがとうございます。お客様の口座に不審なアクセスが検出されたため、
安全のためお取引を一時的に制限いたしました。下記のリンクより本人確認のお手続きをお願いいたします。
期日までに確認が取れない場合は口座を凍結させていただくことがございますのでご了承ください。
`

func TestSameText(t *testing.T) {
	var qp strings.Builder
	w := quotedprintable.NewWriter(&qp)
	w.Write([]byte(pitch))
	w.Close()
	html := "<html><body><p>" + strings.ReplaceAll(pitch, "\n\n", "</p><p style='color:red'>") + "</p><img src=x></body></html>"
	sjis, err := japanese.ISO2022JP.NewEncoder().String(pitchJapanese)
	if err != nil {
		t.Fatal(err)
	}
	type pair struct{ name, a, b string }
	for _, c := range []pair{
		{"base64", plain(pitch), "Content-Transfer-Encoding: base64\r\n" + plain(base64.StdEncoding.EncodeToString([]byte(pitch)))},
		{"quoted-printable", plain(pitch), "Content-Transfer-Encoding: quoted-printable\r\n" + plain(qp.String())},
		{"HTML", plain(pitch), "Content-Type: text/html\r\n\r\n" + html},
		{"case and space", plain(pitch), plain(strings.ToUpper(strings.ReplaceAll(pitch, " ", "  \t")))},
		{"numbers and links", plain(pitch), plain(pitch + "\r\n8839-2210 https://evil.example/x?id=99 fee@evil.example\r\n")},
		{"random words", plain(pitch), plain("x7Kq99z bcdfghjk\r\n" + pitch + "\r\nqwrtpsdfg 8ad2f1")},
		{"invisible letters", plain(pitch), plain(strings.ReplaceAll(pitch, "parcel", "par\u200bc\u00adel"))},
		{"look-alikes", plain(pitch), plain(strings.ReplaceAll(pitch, "parcel", "раrсеl"))},
		{"accents", plain(pitch), plain(strings.ReplaceAll(pitch, "delivery", "délivéry"))},
		{"the recipient's name", plain("Hello,\r\n" + pitch), plain("Hello Mio Tanaka,\r\n" + pitch)},
		{"charset", plain(pitchJapanese), "Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n" + sjis},
	} {
		a, b := Fingerprints(read(t, c.a)), Fingerprints(read(t, c.b))
		if near, exact := alikeness(a, b); !exact || near != bands {
			t.Errorf("%s: exact %v, near %d of %d", c.name, exact, near, bands)
		}
	}
}

func TestNearText(t *testing.T) {
	sentences := strings.SplitAfter(pitch, " ")
	for _, c := range []struct {
		name, a, b string
		near       bool
	}{
		{"a stranger's name", pitch, strings.Replace(pitch, "customer", "Hanako Suzuki of Yokohama", 1), true},
		{"a sentence in front", pitch, "We hope that this message finds you well and healthy.\n" + pitch, true},
		{"every twelfth word changed", pitch, every(sentences, 12), true},
		{"Japanese with a name", pitchJapanese, strings.Replace(pitchJapanese, "お客様各位", "鈴木花子様", 1), true},
		{"Japanese with another start", pitchJapanese, "重要なお知らせ\n" + pitchJapanese + "\n担当 佐藤", true},
		{"another text", pitch, "The meeting of the working group was moved to Thursday because the room is taken. Please bring the minutes of the last meeting and tell me who cannot come, so that we find another day for those. The agenda will be sent around on Tuesday, and lunch is on the house this time.", false},
		{"another Japanese text", pitchJapanese, "来週の定例会議は会議室の都合により木曜日に変更となりました。前回の議事録をご持参のうえご参加ください。ご都合の悪い方は火曜日までにご連絡いただけますと幸いです。どうぞよろしくお願いいたします。お弁当はこちらで用意いたします。", false},
	} {
		near, _ := alikeness(Fingerprints(read(t, plain(c.a))), Fingerprints(read(t, plain(c.b))))
		if near >= nearBands != c.near {
			t.Errorf("%s: %d of %d bands", c.name, near, bands)
		}
	}
}

func every(words []string, n int) string {
	out := slices.Clone(words)
	for i := n / 2; i < len(out); i += n {
		out[i] = fmt.Sprintf("changed%c ", 'a'+i%20)
	}
	return strings.Join(out, "")
}

func TestWhatGivesNoPrint(t *testing.T) {
	small, large := strings.Repeat("A", 200), strings.Repeat("QUJD", 600)
	part := func(kind, body string) string {
		return "--b\r\nContent-Type: " + kind + "\r\nContent-Transfer-Encoding: base64\r\n\r\n" + body + "\r\n"
	}
	mixed := "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
	for _, c := range []struct {
		name, raw string
		want      string
	}{
		{"empty", "\r\n", ""},
		{"thanks", plain("Thank you very much!\r\n"), ""},
		{"a link", plain("https://evil.example/a/b/c"), ""},
		{"short", plain("Please have a look at the picture that everybody is talking about right now"), "text"},
		{"long", plain(pitch), "text" + strings.Repeat(" near", bands)},
		{"tiny image", mixed + part("image/gif", small), ""},
		{"image alone", mixed + part("image/gif", large), "part"},
		{"twice the same", mixed + part("image/gif", large) + part("image/gif", large), "part"},
		{"emblem beside text", mixed + "--b\r\n\r\n" + pitch + "\r\n" + part("image/gif", large), "text" + strings.Repeat(" near", bands)},
		{"document beside text", mixed + "--b\r\n\r\n" + pitch + "\r\n" + part("application/pdf", large), "text" + strings.Repeat(" near", bands) + " part"},
		{"quoted", plain("> " + strings.ReplaceAll(pitch, "\n", "\n> ") + "\r\nI agree."), ""},
	} {
		var kinds []string
		for _, p := range Fingerprints(read(t, c.raw)) {
			kinds = append(kinds, p.Kind.String())
		}
		if got := strings.Join(kinds, " "); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestPrintText(t *testing.T) {
	for _, p := range Fingerprints(read(t, plain(pitch))) {
		if again, err := ParsePrint(p.String()); err != nil || again != p {
			t.Errorf("%s: %v %v", p, again, err)
		}
	}
	for _, s := range []string{"", "text:00", "what:" + strings.Repeat("0", 32), "near:" + strings.Repeat("x", 32)} {
		if _, err := ParsePrint(s); err == nil {
			t.Errorf("%q was read", s)
		}
	}
}

// corpus gives the fingerprints of real mail, ham and spam, that is kept outside
// the project.
func corpus(t testing.TB) (ham, spam [][]Print) {
	t.Helper()
	dir := os.Getenv("MIGIWA_TESTDATA")
	if dir == "" {
		_, file, _, _ := runtime.Caller(0)
		dir = filepath.Join(filepath.Dir(file), "..", "..", "..", "..", "shared", "data")
	}
	archive := filepath.Join(dir, "06-spam", "sa-publiccorpus-dev.tar.zst")
	if _, err := os.Stat(archive); err != nil {
		t.Skipf("no test material: %v (set MIGIWA_TESTDATA)", err)
	}
	tmp := t.TempDir()
	cmd := exec.Command("sh", "-c", `zstd -dc --long=27 "$1" | tar x -C "$2"`, "sh", archive, tmp)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("cannot unpack %s: %v %s", archive, err, out)
	}
	load := func(kind string) (all [][]Print) {
		names, _ := filepath.Glob(filepath.Join(tmp, "*", kind+"*", "*"))
		for _, name := range names {
			raw, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if _, rest, ok := strings.Cut(string(raw), "\n"); ok && strings.HasPrefix(string(raw), "From ") {
				raw = []byte(rest)
			}
			all = append(all, Fingerprints(read(t, string(raw))))
		}
		if len(all) < 500 {
			t.Fatalf("%d messages of %s", len(all), kind)
		}
		return all
	}
	return load("ham"), load("spam")
}

// TestCorpus: with every spam of a real collection reported, as good as no ham
// is near one, and every second spam is one of a campaign that is known again.
func TestCorpus(t *testing.T) {
	if testing.Short() {
		t.Skip("reads 3,000 messages")
	}
	ham, spam := corpus(t)
	index := map[Print][]int{}
	for i, prints := range spam {
		for _, p := range prints {
			index[p] = append(index[p], i)
		}
	}
	found := func(prints []Print, without int) bool {
		for _, g := range groups(prints) {
			hits := map[int]int{}
			for _, p := range g.prints {
				for _, i := range index[p] {
					if hits[i]++; i != without && hits[i] >= g.need {
						return true
					}
				}
			}
		}
		return false
	}
	wrong, again, none := 0, 0, 0
	for _, prints := range ham {
		if found(prints, -1) {
			wrong++
		}
	}
	for i, prints := range spam {
		none += max(0, 1-len(prints))
		if found(prints, i) {
			again++
		}
	}
	t.Logf("%d ham, %d like a spam; %d spam, %d like another spam, %d without fingerprints", len(ham), wrong, len(spam), again, none)
	if wrong > len(ham)/500 {
		t.Errorf("%d of %d ham are like a spam", wrong, len(ham))
	}
	if again < len(spam)*2/5 {
		t.Errorf("%d of %d spam are like another", again, len(spam))
	}
}

// FuzzFingerprints: any text gives bounded fingerprints, the same each time.
func FuzzFingerprints(f *testing.F) {
	f.Add(pitch)
	f.Add(pitchJapanese)
	f.Add("www.@://a 日本://x@ｱｲｳ\u0300\u200b V i a g r a")
	f.Fuzz(func(t *testing.T, s string) {
		a, b := Fingerprints(read(t, plain(s))), Fingerprints(read(t, plain(s)))
		if !slices.Equal(a, b) || len(a) > maxPrints {
			t.Fatalf("%d, then %d fingerprints", len(a), len(b))
		}
		n := 0
		for _, g := range groups(a) {
			n += len(g.prints)
		}
		if n != len(a) || len(words(s, nil)) > maxWords {
			t.Fatalf("%d of %d in groups", n, len(a))
		}
	})
}

func BenchmarkFingerprints(b *testing.B) {
	for name, text := range map[string]string{"500 octets": pitch, "50 KB": strings.Repeat(pitch, 100), "50 KB Japanese": strings.Repeat(pitchJapanese, 80)} {
		b.Run(name, func(b *testing.B) {
			m := read(b, plain(text))
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				Fingerprints(m)
			}
		})
	}
}
