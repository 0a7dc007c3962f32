package learned_test

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/migiwa/migiwa/internal/filter/learned"
)

// The site model comes from mail of 2002. Advertising, receipts and notices of
// today that were asked for, as honest senders write them, are not spam to it.
// Words of the messages in modern were put on the list of honest trade; those in
// unseen were written afterwards and are near to what spam sells.
func TestHonestTradeIsNoSpam(t *testing.T) {
	m := &learned.Model{Site: learned.DefaultSite()}
	for dir, allowed := range map[string]float64{"modern": 0.8, "unseen": 0.9} {
		files, err := filepath.Glob("testdata/" + dir + "/*.eml")
		if err != nil || len(files) < 10 {
			t.Fatal(files, err)
		}
		for _, name := range files {
			raw, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			v := classify(t, m, "", learned.Tokens(read(t, string(raw))))
			if v.Score > allowed {
				t.Errorf("%s: %s", name, v)
			}
			t.Logf("%s %.3f, known %.2f", name, v.Score, v.Knowledge)
		}
	}
}

// A picture without text has nothing for the site to know; an account that was
// taught such mail knows it by its sender and its shape.
func TestPictureIsKnownByItsOwner(t *testing.T) {
	m := &learned.Model{Site: learned.DefaultSite(), Store: newMemory()}
	picture := func(from, host string) []string {
		return learned.Tokens(read(t, "From: x@"+from+"\nSubject: new\nContent-Type: text/html\n\n<a href='http://"+host+"/'><img src='http://"+host+"/1.gif'></a>"))
	}
	if v := classify(t, m, "ann", picture("a.example", "b.example")); math.Abs(v.Score-0.5) > 0.05 {
		t.Errorf("nobody knows it, and %+v", v)
	}
	for range 100 {
		teach(t, m, picture("pills.example", "cheap.example"), true)
		teach(t, m, picture("friend.example.org", "photos.example.org"), false)
	}
	if v := classify(t, m, "ann", picture("pills.example", "cheap.example")); v.Score < 0.8 {
		t.Errorf("%+v", v)
	}
	if v := classify(t, m, "ann", picture("friend.example.org", "photos.example.org")); v.Score > 0.2 {
		t.Errorf("%+v", v)
	}
}
