package link

import (
	"encoding/base64"
	"net/url"
	"regexp"
	"strings"
	"unicode/utf8"
)

// cheap are top levels below which a name costs next to nothing for a year, and
// most of what mail links to there is gone within days.
var cheap = words(`
	top xyz icu vip click sbs cyou cfd bond win xin lol buzz monster skin baby black quest rest hair beauty makeup
	mom autos boats homes pics yachts cam surf bid loan men date racing review stream trade gdn
`)

// cheapPlace tells whether a registrable domain is below such a name.
func cheapPlace(domain string) bool {
	i := strings.LastIndexByte(domain, '.')
	return i > 0 && cheap[domain[i+1:]]
}

// randomName tells whether a registrable domain's own label can hardly be said.
func randomName(domain string) bool {
	label := domainLabel(domain)
	if len(label) < 8 || strings.Contains(label, "-") || strings.HasPrefix(label, "xn--") {
		return false
	}
	run, longest, vowels, digits := 0, 0, 0, 0
	for _, c := range label {
		switch {
		case strings.ContainsRune("aeiouy", c):
			vowels++
			run = 0
		case c >= '0' && c <= '9':
			digits++
			run = 0
		default:
			if run++; run > longest {
				longest = run
			}
		}
	}
	letters := len(label) - digits
	return longest >= 7 || letters >= 8 && vowels*10 < letters
}

var wholeAddress = regexp.MustCompile(`^[\w.+-]{1,64}@([\w-]+\.)+[A-Za-z]{2,24}$`)

// carriesAddress tells whether the path or the fragment of a link names a mail
// address, open or in base64: so does a page that is made to greet its victim.
// Lists that count their readers do so behind a question mark.
func carriesAddress(u URL) bool {
	parsed, err := url.Parse(u.Href)
	if err != nil {
		return false
	}
	path, _ := url.PathUnescape(parsed.EscapedPath())
	for _, piece := range append(strings.FieldsFunc(path, func(r rune) bool { return strings.ContainsRune("/$*", r) }), parsed.Fragment) {
		piece = strings.Trim(piece, "#/ ")
		if wholeAddress.MatchString(piece) || inBase64(piece) {
			return true
		}
	}
	return false
}

func inBase64(s string) bool {
	if len(s) < 10 || len(s) > 200 {
		return false
	}
	for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		if b, err := e.DecodeString(strings.TrimRight(s, "=")); err == nil && utf8.Valid(b) && wholeAddress.Match(b) {
			return true
		}
	}
	return false
}

// distance counts the letters that are more, less or other between two words, up
// to limit; above it gives limit+1.
func distance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		above, least := row[0], i+1
		row[0] = i + 1
		for j := range len(b) {
			cost := above
			if a[i] != b[j] {
				cost++
			}
			above = row[j+1]
			row[j+1] = min(cost, above+1, row[j]+1)
			least = min(least, row[j+1])
		}
		if least > limit {
			return limit + 1
		}
	}
	return min(row[len(b)], limit+1)
}
