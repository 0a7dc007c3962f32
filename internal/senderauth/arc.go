package senderauth

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/migiwa/migiwa/internal/mail"
)

// maxInstances bounds a chain (RFC 8617 section 4.2.1).
const maxInstances = 50

// ARCResult is the outcome of a chain of those who have handed a message on and
// have told what they had found.
type ARCResult struct {
	Result    Result // none, pass or fail
	Instances int
	Domain    string // who sealed last
	Reason    string
	// Authentication is what the last one had found, as in
	// Authentication-Results. It is worth as much as he is.
	Authentication string
}

// arcSet is what one instance has added.
type arcSet struct {
	results, message, seal *mail.Field
}

// chain is a chain that can be checked.
type chain struct {
	sets []arcSet
	last *signature // the newest message signature
	err  error      // the chain is broken already
}

var arcFields = []string{"ARC-Authentication-Results", "ARC-Message-Signature", "ARC-Seal"}

// readChain sorts the fields of a chain and checks all that needs no key.
func readChain(h *mail.Header) *chain {
	c := &chain{}
	for f := range h.All() {
		if !slices.ContainsFunc(arcFields, f.Is) {
			continue
		}
		if c.err = c.add(f); c.err != nil {
			return c
		}
	}
	if len(c.sets) == 0 {
		return c
	}
	for i := range c.sets {
		if c.err = c.whole(i); c.err != nil {
			return c
		}
	}
	c.last, c.err = parseSignature(*c.sets[len(c.sets)-1].message)
	if c.err == nil && slices.Contains(c.last.names, "arc-seal") {
		c.err = fmt.Errorf("%w: the seal is signed", errSyntax)
	}
	return c
}

// add puts a field in its place.
func (c *chain) add(f mail.Field) error {
	i, err := instance(f)
	if err != nil {
		return err
	}
	for len(c.sets) < i {
		c.sets = append(c.sets, arcSet{})
	}
	set := &c.sets[i-1]
	place := &set.results
	switch {
	case f.Is("ARC-Message-Signature"):
		place = &set.message
	case f.Is("ARC-Seal"):
		place = &set.seal
	}
	if *place != nil {
		return fmt.Errorf("instance %d has two %s", i, f.Name)
	}
	*place = &f
	return nil
}

func instance(f mail.Field) (int, error) {
	_, value, _ := strings.Cut(f.Raw(), ":")
	text := ""
	if f.Is("ARC-Authentication-Results") { // only its beginning is a tag
		first, _, _ := strings.Cut(value, ";")
		name, number, _ := strings.Cut(first, "=")
		if strings.TrimSpace(name) == "i" {
			text = strings.TrimSpace(number)
		}
	} else {
		t, err := parseTags(value)
		if err != nil {
			return 0, err
		}
		text = t.compact("i")
	}
	i, err := strconv.Atoi(text)
	if err != nil || i < 1 || i > maxInstances {
		return 0, fmt.Errorf("%w: instance", errSyntax)
	}
	return i, nil
}

// whole checks that a set has its three fields, and what its seal says of those
// before it.
func (c *chain) whole(i int) error {
	set := c.sets[i]
	if set.results == nil || set.message == nil || set.seal == nil {
		return fmt.Errorf("instance %d is not whole", i+1)
	}
	t, err := sealTags(set.seal)
	if err != nil {
		return err
	}
	want := "pass"
	if i == 0 {
		want = "none"
	}
	if cv := strings.ToLower(t.compact("cv")); cv != want {
		return fmt.Errorf("instance %d says %.10q of the chain before it", i+1, cv)
	}
	if _, ok := t["h"]; ok {
		return fmt.Errorf("%w: h in a seal", errSyntax)
	}
	for _, name := range []string{"a", "b", "d", "s"} {
		if t.compact(name) == "" {
			return fmt.Errorf("%w: no %s in a seal", errSyntax, name)
		}
	}
	return nil
}

func sealTags(f *mail.Field) (tags, error) {
	_, value, _ := strings.Cut(f.Raw(), ":")
	return parseTags(value)
}

// verify checks the newest message signature and all seals.
func (c *chain) verify(h *mail.Header, bodies bodyHashes, look keyFinder) ARCResult {
	r := ARCResult{Result: None, Instances: len(c.sets)}
	if c.err == nil && len(c.sets) == 0 {
		return r
	}
	if c.err == nil {
		c.err = c.message(h, bodies, look)
	}
	for i := len(c.sets) - 1; i >= 0 && c.err == nil; i-- {
		c.err = c.seal(i, look)
	}
	r.Result = Pass
	if c.err != nil {
		r.Result, r.Reason = Fail, c.err.Error()
		return r
	}
	last := c.sets[len(c.sets)-1]
	t, _ := sealTags(last.seal)
	r.Domain = strings.ToLower(t.compact("d"))
	_, r.Authentication, _ = strings.Cut(last.results.Value(), ";")
	return r
}

func (c *chain) message(h *mail.Header, bodies bodyHashes, look keyFinder) error {
	s := c.last
	key, err := look(s.tags.compact("s"), s.domain)
	if err != nil {
		return err
	}
	if err := s.fits(bodies); err != nil {
		return err
	}
	if key.verify(s.tags.compact("a"), s.hashHeader(h), s.value) != nil {
		return errors.New("the message signature does not fit")
	}
	return nil
}

// seal checks the seal of one set over all sets up to it.
func (c *chain) seal(i int, look keyFinder) error {
	t, err := sealTags(c.sets[i].seal)
	if err != nil {
		return err
	}
	value, err := t.octets("b")
	if err != nil {
		return fmt.Errorf("%w: b in a seal", errSyntax)
	}
	key, err := look(t.compact("s"), strings.ToLower(t.compact("d")))
	if err != nil {
		return err
	}
	sum := sha256.New()
	for k := range i + 1 {
		set := c.sets[k]
		sum.Write([]byte(relaxedHeader(set.results.Raw())))
		sum.Write([]byte(relaxedHeader(set.message.Raw())))
		if k < i {
			sum.Write([]byte(relaxedHeader(set.seal.Raw())))
			continue
		}
		sum.Write([]byte(strings.TrimSuffix(relaxedHeader(withoutTag(set.seal.Raw(), "b")), "\r\n")))
	}
	if key.verify(t.compact("a"), sum.Sum(nil), value) != nil {
		return fmt.Errorf("seal %d does not fit", i+1)
	}
	return nil
}
