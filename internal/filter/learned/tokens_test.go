package learned_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/filter/learned"
)

func read(t testing.TB, raw string) *filter.Message {
	t.Helper()
	m, err := filter.FromBytes(filter.Envelope{}, []byte(strings.ReplaceAll(raw, "\n", "\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func text(body string) string {
	return "From: Ann <ann@news.example.co.jp>\nTo: bob@example.net\nSubject: Hello\nDate: Mon, 1 Jun 2026 10:00:00 +0000\n" +
		"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n" + body + "\n"
}

func TestTokensOfScripts(t *testing.T) {
	for _, tc := range []struct {
		name, body string
		want, not  []string
	}{
		{"English", "Don't REFINANCE your house, it's 100% mad!",
			[]string{"dont", "refinance", "house", "mad", "shape:text:exclamation=1", "shape:text:percent=1"}, []string{"REFINANCE", "100"}},
		{"German and French", "Größere Städte – l’été à Zürich", []string{"größere", "städte", "lété", "zürich"}, nil},
		{"Russian", "Срочный перевод денег", []string{"срочный", "перевод", "денег"}, nil},
		{"Japanese", "本日限定のキャンペーンです。銀行口座を確認", []string{"キャンペーン", "本日限定", "銀行口座", "です", "銀行", "本日"}, []string{"本日限定のキャンペーンです"}},
		{"half-width katakana", "ｷｬﾝﾍﾟｰﾝです", []string{"キャンペーン"}, nil},
		{"Chinese", "点击这里领取奖金", []string{"点击", "击这", "奖金"}, []string{"点击这里领取奖金"}},
		{"Korean", "무료 쿠폰을 받으세요", []string{"무료", "쿠폰을", "쿠폰", "폰을"}, nil},
		{"Thai", "โปรโมชั่นพิเศษ", []string{"โป", "พิ"}, nil},
		{"letters apart", "buy V I A G R A now", []string{"viagra", "shape:letters apart"}, nil},
		{"invisible letters", "re\u200bfi\u00adnance", []string{"refinance", "shape:text:invisible letters"}, nil},
		{"addresses", "write to bob and carol@example.org at https://shop.example.com/x?id=1 bitte",
			[]string{"write", "bitte", "host:example.com", "host:shop.example.com", "link:https"}, []string{"bob", "carol", "shop", "https"}},
		{"link behind Japanese", "詳細はhttp://a.example.jp/をご覧", []string{"host:a.example.jp", "詳細", "ご覧"}, nil},
		{"bare address", "http://192.0.2.7/login http://user@3232235521/", []string{"link:bare address", "link:user name before the host"}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := learned.Tokens(read(t, text(tc.body)))
			for _, w := range tc.want {
				if !slices.Contains(got, w) {
					t.Errorf("no %q in %q", w, got)
				}
			}
			for _, w := range tc.not {
				if slices.Contains(got, w) {
					t.Errorf("%q is a token", w)
				}
			}
		})
	}
}

func TestTokensOfHTML(t *testing.T) {
	raw := "From: \"Your Bank\" <x@mailer.example.com>\nReply-To: y@example.ru\nTo: a@example.net\nSubject: =?utf-8?b?6YeN6KaB?=\n" +
		"X-Mailer: MegaSender 4.2 (build 7)\nMIME-Version: 1.0\nContent-Type: multipart/alternative; boundary=b\n\n" +
		"--b\nContent-Type: text/plain\n\nplain words\n--b\nContent-Type: text/html; charset=Shift_JIS\n\n" +
		"<p>seen<span style='display:none'>" + strings.Repeat("unseen ", 60) + "</span>" +
		"<a href='http://evil.example.org/?u=http://other.example/'>www.bank.example.com</a><img src='cid:1'>\n--b--\n"
	got := learned.Tokens(read(t, raw))
	for _, w := range []string{"from:mailer.example.com", "from:example.com", "name:bank", "subject:重要", "head:mailer=megasender",
		"head:replies go elsewhere", "type:alternative(plain html)", "type:charset=shift_jis", "shape:mostly hidden text", "seen",
		"link:shows another host", "link:leads on to another", "host:example.org", "shape:pictures=1 hardly any text"} {
		if !slices.Contains(got, w) {
			t.Errorf("no %q in %q", w, got)
		}
	}
	if slices.Contains(got, "unseen") {
		t.Error("hidden text was counted as text")
	}
}

// What tells the way of a message, its reader or what others think of it must
// not change its tokens.
func TestTokensLeakNothing(t *testing.T) {
	plain := learned.Tokens(read(t, text("some words")))
	leaky := learned.Tokens(read(t, "Received: from x.example by y.example; Mon, 1 Jun 2026 10:00:00 +0000\nX-Spam-Flag: YES\n"+
		"X-Spam-Status: Yes, score=99\nDelivered-To: bob@example.net\nMessage-ID: <1@list.example>\nList-Id: <cats.example.org>\n"+
		"Precedence: bulk\nReturn-Path: <b@example.org>\nIn-Reply-To: <2@x>\nX-Bogosity: Spam\nStatus: RO\n"+text("some words")))
	if !slices.Equal(plain, leaky) {
		t.Errorf("%q\n%q", plain, leaky)
	}
}

func TestTokensAreBounded(t *testing.T) {
	var b strings.Builder
	for i := range 200_000 {
		b.WriteString("w" + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676%26)) + string(rune('a'+i/17576%26)) + " ")
	}
	got := learned.Tokens(read(t, text(b.String())))
	if len(got) != learned.MaxTokens {
		t.Errorf("%d tokens", len(got))
	}
}

// Thousands of words above a message, or in its subject, do not push it out.
func TestTokensAreNotPushedOut(t *testing.T) {
	var salad strings.Builder
	for i := range 4000 {
		salad.WriteString("q" + strings.Map(func(r rune) rune { return r - '0' + 'a' }, strconv.Itoa(100000+i)) + " ")
	}
	var own []string
	for _, a := range "abcdefghij" {
		for _, b := range "abcdefghij" {
			own = append(own, "pill"+string(a)+string(b))
		}
	}
	payload := strings.Join(own, " ")
	kept := 0
	for _, token := range learned.Tokens(read(t, text(salad.String()+payload))) {
		if slices.Contains(own, token) {
			kept++
		}
	}
	if kept < 25 {
		t.Errorf("%d of 100 words left", kept)
	}
	raw := strings.Replace(text(payload), "Subject: Hello", "Subject: "+salad.String(), 1)
	got := learned.Tokens(read(t, raw))
	for _, w := range own {
		if !slices.Contains(got, w) {
			t.Fatalf("no %q in %d tokens", w, len(got))
		}
	}
}

func FuzzTokens(f *testing.F) {
	f.Add([]byte(text("Hello 本日はhttp://a.example/ V.I.A.G.R.A")))
	f.Add([]byte("Content-Type: text/html\n\n<a href='http://%65@1.2.3.4:99/'>http://x.example</a>"))
	f.Add([]byte("To: a@[1.2.3.4], =?utf-8?q?=ff?=\nX-Mailer: \xff\xfe\n\n\xe0\xb8"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := filter.FromBytes(filter.Envelope{}, raw)
		if err != nil {
			t.Fatal(err)
		}
		got := learned.Tokens(m)
		if len(got) > learned.MaxTokens {
			t.Errorf("%d tokens", len(got))
		}
		seen := map[string]bool{}
		for _, token := range got {
			if token == "" || len(token) > 80 || !utf8.ValidString(token) || seen[token] {
				t.Errorf("token %q", token)
			}
			seen[token] = true
		}
		if !slices.Equal(got, learned.Tokens(m)) {
			t.Error("not the same twice")
		}
	})
}

// The most work that one message can be.
func BenchmarkTokensOfLargest(b *testing.B) {
	var s strings.Builder
	for i := range 400_000 {
		s.WriteRune(rune(0x4e00 + i*7919%20000))
	}
	m := read(b, text(s.String()))
	for b.Loop() {
		learned.Hashes(learned.Tokens(m))
	}
}

func BenchmarkTokens(b *testing.B) {
	m := read(b, text(strings.Repeat("The quick brown fox jumps over the lazy dog while 本日のキャンペーンをお知らせします. ", 40)))
	b.SetBytes(m.Size)
	for b.Loop() {
		learned.Hashes(learned.Tokens(m))
	}
}
