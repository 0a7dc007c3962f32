package hypertext

import (
	"reflect"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, test := range []struct {
		name, source string
		want         Page
	}{
		{"text", `<html><title>T</title><p>a<br>b &amp; c`, Page{Text: "\na\nb & c"}},
		{"link", `<a href="http://a.example/?x=1&amp;y=2">see <b>here</b></a>`,
			Page{Text: "see here", Links: []Link{{"http://a.example/?x=1&y=2", "see here", Anchor}}}},
		{"first attribute counts", `<a href=one href=two>x</a>`, Page{Text: "x", Links: []Link{{"one", "x", Anchor}}}},
		{"entity twice", `&amp;lt;`, Page{Text: "&lt;"}},
		{"anchor not closed", `<a href=one>x<a href=two>y`,
			Page{Text: "xy", Links: []Link{{"one", "x", Anchor}, {"two", "y", Anchor}}}},
		{"form", `<form action=//a.example><input type=PASSWORD><input name=n></form>`,
			Page{Links: []Link{{"//a.example", "", Form}}, Passwords: 1}},
		{"image", `<img src=cid:1><img src=http://a.example/p.gif width=1>`,
			Page{Links: []Link{{"cid:1", "", Image}, {"http://a.example/p.gif", "", Image}}, Images: 2}},
		{"hidden", `a<div style="display : NONE">hid<b>den</b></div>b<span style="font-size:0px">zero</span>`,
			Page{Text: "a\nb", HiddenText: len("hiddenzero")}},
		{"a font size that begins with 0 only", `<span style="font-size:0.9em">seen</span>`, Page{Text: "seen"}},
		{"style and script", `<style>p{}</style><script>run()</script>x`, Page{Text: "x", Scripts: 1}},
		{"refresh", `<META HTTP-EQUIV=Refresh content="0; url=//a.example">`, Page{Refresh: true}},
	} {
		got := Parse(test.source)
		got.Text = strings.TrimRight(got.Text, "\n")
		test.want.Text = strings.TrimRight(test.want.Text, "\n")
		got.Text, test.want.Text = strings.Trim(got.Text, "\n"), strings.Trim(test.want.Text, "\n")
		if !reflect.DeepEqual(*got, test.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", test.name, *got, test.want)
		}
	}
}

func TestParseIsBounded(t *testing.T) {
	p := Parse(strings.Repeat("<a href=x>y", 10*maxLinks))
	if len(p.Links) != maxLinks {
		t.Errorf("%d links", len(p.Links))
	}
	Parse(strings.Repeat("<div style=display:none>", 100_000))
}

func TestLooks(t *testing.T) {
	for text, want := range map[string]bool{" <!DOCTYPE HTML>x": true, "<HTML>": true, "see <html>": false, "": false} {
		if Looks(text) != want {
			t.Errorf("Looks(%q) = %v", text, !want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`<a href=x style="display:none">y<img src=z>`)
	f.Fuzz(func(t *testing.T, source string) {
		p := Parse(source)
		if len(p.Links) > maxLinks {
			t.Fatal("too many links")
		}
	})
}
