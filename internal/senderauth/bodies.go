package senderauth

import (
	"crypto/sha256"
	"hash"
)

// wantedBody is one way in which a signature wants the body hashed.
type wantedBody struct {
	relaxed bool
	limit   int64 // octets in canonical form; -1: all
}

// bodyHashes hashes a body in all wanted ways at once, in constant memory.
type bodyHashes map[wantedBody]*bodySum

// bodySum is one of them.
type bodySum struct {
	*limited
	write func([]byte) (int, error)
	end   func()
}

func (b bodyHashes) want(w wantedBody) {
	if b[w] != nil {
		return
	}
	l := &limited{Hash: sha256.New(), left: w.limit}
	if w.relaxed {
		h := &BodyHash{sum: l}
		b[w] = &bodySum{l, h.Write, func() { h.Sum() }}
		return
	}
	s := &simpleBody{out: l}
	b[w] = &bodySum{l, s.Write, s.end}
}

// Write implements io.Writer.
func (b bodyHashes) Write(p []byte) (int, error) {
	for _, s := range b {
		s.write(p)
	}
	return len(p), nil
}

// end ends the body; sum is good afterwards.
func (b bodyHashes) end() {
	for _, s := range b {
		s.end()
	}
}

// limited is a hash that takes so many octets; -1 is all.
type limited struct {
	hash.Hash
	left int64
	seen int64 // octets that came
}

func (l *limited) Write(p []byte) (int, error) {
	n := len(p)
	l.seen += int64(n)
	if l.left >= 0 {
		p = p[:min(int64(n), l.left)]
		l.left -= int64(len(p))
	}
	l.Hash.Write(p)
	return n, nil
}

// simpleBody canonicalises a body in the simple way (RFC 6376 section 3.4.3): a
// line ends in CRLF, and empty lines at the end do not count.
type simpleBody struct {
	out   *limited
	buf   []byte
	empty int // line ends seen that only count when more follows
	cr    bool
}

func (s *simpleBody) Write(p []byte) (int, error) {
	s.buf = s.buf[:0]
	for _, c := range p {
		if s.cr && c != '\n' {
			s.text('\r')
		}
		s.cr = c == '\r'
		switch c {
		case '\r':
		case '\n':
			s.empty++
		default:
			s.text(c)
		}
	}
	s.out.Write(s.buf)
	return len(p), nil
}

func (s *simpleBody) text(c byte) {
	for ; s.empty > 0; s.empty-- {
		s.buf = append(s.buf, '\r', '\n')
		if len(s.buf) > 4096 {
			s.out.Write(s.buf)
			s.buf = s.buf[:0]
		}
	}
	s.buf = append(s.buf, c)
}

func (s *simpleBody) end() {
	s.buf = s.buf[:0]
	if s.cr {
		s.cr = false
		s.text('\r')
	}
	s.buf = append(s.buf, '\r', '\n') // an empty body is one line end
	s.out.Write(s.buf)
}
