package learned

import (
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
)

// Site is what is known of mail before any user taught anything: for each known
// token its weight, and in how much of spam and of wanted mail it was seen. It
// is read only.
//
// Its binary form is the magic "MGLS", one octet of TokenVersion, the number of
// entries (uint32, big endian), then each entry in the order of its hash: the
// difference from the hash before as a varint, one octet of weight in steps of
// weightStep, one octet with the rates in spam (high half) and wanted mail.
type Site struct {
	hashes  []uint32 // the high halves, ascending
	weights []int8
	rates   []uint8
}

// Entry is what a Site knows of one token.
type Entry struct {
	Hash   uint32  // the high half of the token's hash
	Weight float64 // above 0 speaks for spam, capped at ±MaxWeight
	Spam   float64 // share of spam that holds the token
	Ham    float64 // share of wanted mail
}

// MaxWeight caps the weight of one token: no word alone is a verdict.
const (
	MaxWeight  = 127 * weightStep
	weightStep = 1.0 / 160
	siteMagic  = "MGLS"
)

//go:embed site.bin
var defaultSite []byte

// DefaultSite gives the model that is part of the program. bench/filters says
// how it was trained and how good it is.
var DefaultSite = sync.OnceValue(func() *Site {
	s, err := ReadSite(defaultSite)
	if err != nil {
		panic(err)
	}
	return s
})

// NewSite makes a model of entries, in any order. Of two with one hash the
// first counts.
func NewSite(entries []Entry) *Site {
	entries = slices.Clone(entries)
	slices.SortStableFunc(entries, func(a, b Entry) int { return int(int64(a.Hash) - int64(b.Hash)) })
	entries = slices.CompactFunc(entries, func(a, b Entry) bool { return a.Hash == b.Hash })
	s := &Site{}
	for _, e := range entries {
		s.hashes = append(s.hashes, e.Hash)
		s.weights = append(s.weights, int8(math.Round(max(-127, min(127, e.Weight/weightStep)))))
		s.rates = append(s.rates, quantise(e.Spam)<<4|quantise(e.Ham))
	}
	return s
}

// Len gives the number of tokens the site knows.
func (s *Site) Len() int { return len(s.hashes) }

// lookup tells what is known of a token.
func (s *Site) lookup(hash uint64) (weight, spam, ham float64, known bool) {
	i, known := slices.BinarySearch(s.hashes, uint32(hash>>32))
	if !known {
		return 0, 0, 0, false
	}
	r := s.rates[i]
	return float64(s.weights[i]) * weightStep, rate(r >> 4), rate(r & 15), true
}

// quantise keeps a share in four bits, a factor of √2 a step.
func quantise(share float64) uint8 {
	if share <= 0 {
		return 0
	}
	return uint8(max(0, min(15, math.Round(15+2*math.Log2(share)))))
}

func rate(q uint8) float64 { return math.Exp2(-float64(15-q) / 2) }

// MarshalBinary gives the form that ReadSite reads.
func (s *Site) MarshalBinary() ([]byte, error) {
	out := append([]byte(siteMagic), TokenVersion)
	out = binary.BigEndian.AppendUint32(out, uint32(len(s.hashes)))
	last := uint32(0)
	for i, h := range s.hashes {
		out = binary.AppendUvarint(out, uint64(h-last))
		out = append(out, byte(s.weights[i]), s.rates[i])
		last = h
	}
	return out, nil
}

// ReadSite reads the binary form of a model.
func ReadSite(b []byte) (*Site, error) {
	if len(b) < 9 || string(b[:4]) != siteMagic {
		return nil, errors.New("learned: no site model")
	}
	if b[4] != TokenVersion {
		return nil, fmt.Errorf("learned: site model of token version %d, not %d", b[4], TokenVersion)
	}
	n := binary.BigEndian.Uint32(b[5:])
	b = b[9:]
	if int64(n)*3 > int64(len(b)) {
		return nil, errors.New("learned: site model cut short")
	}
	s := &Site{hashes: make([]uint32, n), weights: make([]int8, n), rates: make([]uint8, n)}
	last := uint64(0)
	for i := range s.hashes {
		step, size := binary.Uvarint(b)
		if last += step; size <= 0 || len(b) < size+2 || last > math.MaxUint32 {
			return nil, errors.New("learned: site model broken")
		}
		s.hashes[i], s.weights[i], s.rates[i] = uint32(last), int8(b[size]), b[size+1]
		b = b[size+2:]
	}
	return s, nil
}
