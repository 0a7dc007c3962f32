package link

import (
	_ "embed" // the brands
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

//go:embed brands.txt
var brandText string

// Brand is a name that is imitated.
type Brand struct {
	Name    string
	shape   string // skeleton of Name
	common  bool   // a word of the language too
	domains map[string]bool
}

// Owns tells whether a registrable domain belongs to the brand.
func (b *Brand) Owns(domain string) bool { return b.domains[domain] }

var (
	brandList = readBrands(brandText)
	brands    = byShape(brandList)
	// ownedBy gives the brand of a registrable domain.
	ownedBy = byDomain(brandList)
)

func readBrands(text string) []*Brand {
	var out []*Brand
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 || strings.HasPrefix(line, "#") {
			continue
		}
		b := &Brand{domains: map[string]bool{}}
		b.Name, b.common = strings.CutPrefix(fields[0], "*")
		b.shape = skeleton(b.Name)
		for _, d := range fields[1:] {
			b.domains[d] = true
		}
		out = append(out, b)
	}
	return out
}

func byShape(list []*Brand) map[string]*Brand {
	out := map[string]*Brand{}
	for _, b := range list {
		out[b.shape] = b
	}
	return out
}

func byDomain(list []*Brand) map[string]*Brand {
	out := map[string]*Brand{}
	for _, b := range list {
		for d := range b.domains {
			if out[d] == nil {
				out[d] = b
			}
		}
	}
	return out
}

// service are words of those who pose as a company's service.
var service = words(`
	support security secure account accounts login signin log-in verify verification update alert alerts billing
	team service services customer help helpdesk desk center centre notification notice payment pay invoice refund
	unlock recovery confirm wallet id bank banking online portal prime rewards reward card package delivery parcel
	tracking suspended admin mail webmail cloud storage limited member membership auth sso cdn
`)

// confusable gives what a letter looks like. Only letters that are really used
// to imitate others: Cyrillic, Greek, and ASCII among itself.
var confusable = map[rune]string{
	'0': "o", '1': "l", '3': "e", '4': "a", '5': "s", '7': "t", '8': "b", '9': "g", '$': "s", '@': "a", '|': "l", '!': "l", 'i': "l",
	'а': "a", 'в': "b", 'с': "c", 'ԁ': "d", 'е': "e", 'һ': "h", 'і': "l", 'ј': "j", 'к': "k", 'ӏ': "l", 'м': "m", 'н': "h", 'о': "o",
	'р': "p", 'ԛ': "q", 'ѕ': "s", 'т': "t", 'у': "y", 'ԝ': "w", 'х': "x", 'з': "e", 'ь': "b", 'г': "r", 'п': "n",
	'α': "a", 'β': "b", 'ε': "e", 'η': "n", 'ι': "l", 'κ': "k", 'ν': "v", 'ο': "o", 'ρ': "p", 'τ': "t", 'υ': "u", 'χ': "x", 'ω': "w",
	'ı': "l", 'ɡ': "g", 'ɑ': "a", 'ʟ': "l", 'ø': "o", 'đ': "d", 'ł': "l",
}

// skeleton folds a word to what it looks like, so that words which look the
// same become the same.
func skeleton(word string) string {
	var b strings.Builder
	for _, r := range norm.NFKD.String(strings.ToLower(word)) {
		switch shape, ok := confusable[r]; {
		case ok:
			b.WriteString(shape)
		case unicode.Is(unicode.Mn, r), unicode.Is(unicode.Cf, r):
		default:
			b.WriteRune(r)
		}
	}
	return alikePairs.Replace(b.String())
}

var alikePairs = strings.NewReplacer("rn", "m", "vv", "w", "cl", "d")

// Imitation is a brand that somebody poses as.
type Imitation struct {
	Brand string
	// Exact says that the word is the brand's own, not one that looks like it.
	Exact bool
}

// ImitatedBy gives the brand whose name is in a host name that is not its own.
func ImitatedBy(host, domain string) (Imitation, bool) {
	if domain == "" || len(host) > 255 {
		return Imitation{}, false
	}
	return imitated(strings.FieldsFunc(Unicode(host), func(r rune) bool { return r == '.' || r == '-' || r == '_' }), domain, domainLabel(domain))
}

// NamedBy gives the brand whose name is in what is shown of a sender whose
// domain is not its own.
func NamedBy(shown, domain string) (Imitation, bool) {
	if len(shown) > 512 {
		return Imitation{}, false
	}
	all := strings.FieldsFunc(shown, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '$' && r != '!' && !unicode.Is(unicode.Cf, r)
	})
	for i := range len(all) - 1 { // Wells Fargo, La Poste
		all = append(all, all[i]+all[i+1])
	}
	return imitated(all, domain, "")
}

// imitated looks for a brand among words, and for one that label, if any,
// nearly is.
func imitated(all []string, domain, label string) (Imitation, bool) {
	serves := false
	for _, w := range all {
		serves = serves || service[strings.ToLower(w)]
	}
	for _, w := range all {
		b := brands[skeleton(w)]
		if b == nil || b.Owns(domain) {
			continue
		}
		exact := strings.EqualFold(w, b.Name)
		if b.common && !serves && exact || len(b.Name) <= 4 && !exact {
			continue
		}
		return Imitation{b.Name, exact}, true
	}
	shape := skeleton(Unicode(label))
	for _, b := range brandList {
		if len(b.shape) >= 6 && !b.Owns(domain) && shape != b.shape && nearly(shape, b) {
			return Imitation{b.Name, false}, true
		}
	}
	return Imitation{}, false
}

// nearly tells whether a label is a brand's name with one letter wrong, a long one
// with some, or with a word of service grown to it.
func nearly(shape string, b *Brand) bool {
	if distanceOne(shape, b.shape) {
		return !b.common
	}
	// Of a long name more may be wrong before it is another.
	if n := len(b.shape); n >= 10 && !b.common && distance(shape, b.shape, n/4) <= n/4 {
		return true
	}
	if rest, ok := strings.CutPrefix(shape, b.shape); ok && serviceShapes[rest] {
		return true
	}
	rest, ok := strings.CutSuffix(shape, b.shape)
	return ok && serviceShapes[rest]
}

var serviceShapes = func() map[string]bool {
	shapes := map[string]bool{}
	for w := range service {
		shapes[skeleton(w)] = true
	}
	return shapes
}()

func domainLabel(domain string) string {
	label, _, _ := strings.Cut(domain, ".")
	return label
}

// distanceOne tells whether one letter more, less, other or two letters swapped
// make a into b.
func distanceOne(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	if len(b)-len(a) > 1 || a == b {
		return false
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	if len(a) < len(b) {
		return a[i:] == b[i+1:]
	}
	return a[i+1:] == b[i+1:] || i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
}
