package digest

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/mail"
)

// Shape of near fingerprints. Changing any of these makes what is stored
// worthless; see the package comment for what they mean.
const (
	bands      = 16
	perBand    = 3
	nearBands  = 3  // of bands, that two near texts have in common
	minTerms   = 20 // different ones; shorter texts are near too much
	minTerm    = 4  // octets; shorter words stand in every text
	minWords   = 8  // of an exact fingerprint: "Thank you!" is nobody's spam
	minLetters = 30
)

// Bounds of one message.
const (
	maxTexts  = 3 // the longest
	maxOthers = 10
	minOther  = 1 << 10 // octets; shorter parts are dots and lines
	maxPrints = maxTexts*(1+bands) + maxOthers
	maxNames  = 40
)

// Kind is what a fingerprint was made of.
type Kind byte

// Kinds of fingerprints.
const (
	Text Kind = iota + 1 // all words of a text part
	Near                 // some words; 16 of them belong together and stand in a row
	Part                 // the octets of another part
)

// String gives "text", "near" or "part".
func (k Kind) String() string {
	switch k {
	case Text:
		return "text"
	case Near:
		return "near"
	case Part:
		return "part"
	}
	return "unknown"
}

// Print is one fingerprint.
type Print struct {
	Kind  Kind
	Value [16]byte
}

// String gives "text:" and hexadecimal digits.
func (p Print) String() string { return p.Kind.String() + ":" + hex.EncodeToString(p.Value[:]) }

// ParsePrint reads what String gives.
func ParsePrint(s string) (Print, error) {
	word, digits, _ := strings.Cut(s, ":")
	for k := Text; k <= Part; k++ {
		if k.String() != word || len(digits) != 32 {
			continue
		}
		p := Print{Kind: k}
		if _, err := hex.Decode(p.Value[:], []byte(digits)); err != nil {
			return Print{}, fmt.Errorf("fingerprint %q: %w", s, err)
		}
		return p, nil
	}
	return Print{}, fmt.Errorf("%q is no fingerprint", s)
}

// Fingerprints gives the fingerprints of a message, 61 at most: of its three
// longest texts and ten other parts. Short texts and small parts, which many
// messages have in common, give none; nor do images beside a text, since those
// who imitate a company send its emblem too.
func Fingerprints(m *filter.Message) []Print {
	names := recipientNames(m.Header)
	var texts [][]string
	var others, images []Print
	for _, p := range m.Parts {
		text := p.Text
		if page := p.Page(); page != nil {
			text = page.Text
		}
		if strings.TrimSpace(text) != "" {
			texts = append(texts, words(text, names))
			continue
		}
		list := &others
		if p.Is("image/") {
			list = &images
		}
		other := Print{Kind: Part, Value: [16]byte(p.Sum[:16])}
		if p.Length >= minOther && !slices.Contains(*list, other) {
			*list = append(*list, other)
		}
	}
	out := textPrints(texts)
	if len(out) == 0 {
		others = append(others, images...)
	}
	return append(out, others[:min(len(others), maxOthers)]...)
}

func textPrints(texts [][]string) []Print {
	slices.SortStableFunc(texts, func(a, b []string) int { return len(b) - len(a) })
	var out []Print
	for _, w := range texts[:min(len(texts), maxTexts)] {
		exact, ok := exactPrint(w)
		if ok && slices.Contains(out, exact) { // the same text again, as HTML
			continue
		}
		if ok {
			out = append(out, exact)
		}
		out = append(out, nearPrints(w)...)
	}
	return out
}

// recipientNames gives the names that a sender of bulk would fill in.
func recipientNames(h *mail.Header) []string {
	var out []string
	add := func(s string) {
		s = strings.ToLower(norm.NFKD.String(s))
		for _, w := range strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(" .,_-+'\"\u3000", r) }) {
			if spaced(w) {
				w = strings.Map(letter, w)
			}
			if utf8.RuneCountInString(w) > 1 && len(out) < maxNames && !slices.Contains(out, w) {
				out = append(out, w)
			}
		}
	}
	for _, field := range []string{"To", "Cc"} {
		for _, value := range h.Values(field) {
			list, _ := mail.ParseAddressList(value)
			for _, a := range list[:min(len(list), maxNames)] {
				add(a.Name)
				add(a.Address.Local)
			}
		}
	}
	return out
}

// letter is what words makes of a letter, -1 for one that it leaves out.
func letter(r rune) rune {
	if unicode.In(r, unicode.Mn, unicode.Cf) {
		return -1
	}
	return alike(r)
}

func exactPrint(words []string) (Print, bool) {
	letters := 0
	for _, w := range words {
		letters += utf8.RuneCountInString(w)
	}
	if len(words) < minWords || letters < minLetters {
		return Print{}, false
	}
	h := sha256.New()
	for _, w := range words {
		h.Write([]byte(w))
		h.Write([]byte{' '})
	}
	return Print{Kind: Text, Value: [16]byte(h.Sum(nil)[:16])}, true
}

// nearPrints gives the bands of a text, or none when it is too short.
func nearPrints(words []string) []Print {
	terms := map[uint64]bool{}
	before := ""
	for _, w := range words {
		if !spaced(w) { // two pairs are three characters: pairs are in every text
			if before != "" {
				terms[hashTerm(before, w)] = true
			}
			before = w
			continue
		}
		before = ""
		if len(w) >= minTerm {
			terms[hashTerm(w, "")] = true
		}
	}
	if len(terms) < minTerms {
		return nil
	}
	var least [bands * perBand]uint64
	for i := range least {
		least[i] = ^uint64(0)
	}
	for term := range terms {
		x := term
		for i := range least {
			x += 0x9e3779b97f4a7c15
			least[i] = min(least[i], mix(x))
		}
	}
	out := make([]Print, bands)
	for b := range out {
		buf := []byte{byte(b)}
		for _, v := range least[b*perBand : (b+1)*perBand] {
			buf = binary.BigEndian.AppendUint64(buf, v)
		}
		sum := sha256.Sum256(buf)
		out[b] = Print{Kind: Near, Value: [16]byte(sum[:16])}
	}
	return out
}

// hashTerm is FNV-1a over both words, mixed.
func hashTerm(a, b string) uint64 {
	h := uint64(0xcbf29ce484222325)
	for i := range len(a) {
		h = (h ^ uint64(a[i])) * 0x100000001b3
	}
	h = (h ^ ' ') * 0x100000001b3
	for i := range len(b) {
		h = (h ^ uint64(b[i])) * 0x100000001b3
	}
	return mix(h)
}

// mix is the finalizer of SplitMix64: every bit in changes half of those out.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// group is what is judged as one: an exact fingerprint, or the near ones of one
// text.
type group struct {
	prints []Print
	need   int // how many of them make a report count
}

func groups(prints []Print) []group {
	var out []group
	for i := 0; i < len(prints); i++ {
		if prints[i].Kind != Near {
			out = append(out, group{prints[i : i+1], 1})
			continue
		}
		end := i
		for end < len(prints) && prints[end].Kind == Near && end-i < bands {
			end++
		}
		out = append(out, group{prints[i:end], nearBands})
		i = end - 1
	}
	return out
}
