package edgepolicy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"

	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/serve/foreign"
)

// maxKey bounds a request of sendmail, in octets.
const maxKey = 8 << 10

// readNetstring reads LENGTH:OCTETS, with the comma behind.
func readNetstring(r *bufio.Reader) (string, error) {
	n := 0
	for digits := 0; ; digits++ {
		c, err := r.ReadByte()
		if err != nil {
			return "", unexpected(err)
		}
		if c == ':' && digits > 0 {
			break
		}
		if c < '0' || c > '9' || digits == 5 {
			return "", errors.New("no length of a netstring")
		}
		n = n*10 + int(c-'0')
	}
	if n > maxKey {
		return "", errors.New("the request is too long")
	}
	b := make([]byte, n+1)
	if _, err := io.ReadFull(r, b); err != nil {
		return "", unexpected(err)
	}
	if b[n] != ',' {
		return "", errors.New("no comma behind a netstring")
	}
	return string(b[:n]), nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func netstring(s string) string { return strconv.Itoa(len(s)) + ":" + s + "," }

// question is what the rule set in the documentation asks:
//
//	NAME addr=A port=P id=I resolve=R name=N <FROM> <TO>
//
// sendmail joins and splits words by its own rules: there may be a blank behind
// an equals sign, and none around angle brackets. What a stranger chooses comes
// last.
type question struct {
	client foreign.Client
	tr     foreign.Transaction
	to     mail.Address
}

func parseQuestion(s string) (question, error) {
	var q question
	head, path, ok := strings.Cut(s, "<")
	if !ok {
		return q, errors.New("no sender")
	}
	words := map[string]string{}
	label := ""
	for _, next := range []string{"addr=", "port=", "id=", "resolve=", "name="} {
		value, rest, ok := strings.Cut(head, next)
		if !ok {
			return q, fmt.Errorf("no %s", next)
		}
		words[label], label, head = strings.TrimSpace(value), strings.TrimSuffix(next, "="), rest
	}
	words[label] = strings.TrimSpace(head)
	addr, err := netip.ParseAddr(strings.TrimPrefix(words["addr"], "IPv6:"))
	if err != nil {
		return q, fmt.Errorf("no client: %w", err)
	}
	port, _ := strconv.ParseUint(words["port"], 10, 16) // 0 where it was not told
	q.client = foreign.Client{Role: Role, Remote: netip.AddrPortFrom(addr.Unmap(), uint16(port))}
	switch words["resolve"] {
	case "OK":
		q.client.Name, q.client.Looked = words["name"], true
	case "FAIL", "FORGED":
		q.client.Looked = true
	}
	from, to := splitPaths("<" + path)
	q.tr, q.to = foreign.Transaction{ID: words["id"], From: from}, foreign.Address(to)
	return q, nil
}

// splitPaths cuts "<FROM> <TO>". sendmail writes the null sender as <> inside
// of the brackets.
func splitPaths(s string) (from mail.Address, to string) {
	if rest, ok := strings.CutPrefix(s, "<<>>"); ok {
		return mail.Address{}, strings.TrimSpace(rest)
	}
	if a, rest, err := mail.ParsePath(s); err == nil {
		return a, strings.TrimSpace(rest)
	}
	text, to, _ := strings.Cut(s[1:], ">")
	return foreign.Address(text), strings.TrimSpace(to)
}

// socketmap answers one look-up of sendmail. A client that may hear the truth
// is not found in the map. The quotes keep sendmail from reading the reply as
// an address, whose comments it would leave out.
func (s *Server) socketmap(r *bufio.Reader) (text string, after func(), err error) {
	key, err := readNetstring(r)
	if err != nil {
		return "", nil, err
	}
	q, err := parseQuestion(key)
	if err != nil {
		return "", nil, fmt.Errorf("%.200q: %w", key, err)
	}
	ruling := s.Desk.Guest(q.client).Ask(s.ctx, q.tr, q.to, false)
	if ruling.Reply == nil {
		return netstring("NOTFOUND "), func() {}, nil
	}
	s.until(ruling.At)
	return netstring(fmt.Sprintf(`OK DEFER "%d %s %s"`, ruling.Reply.Code, ruling.Reply.Enhanced, ruling.Reply.Text)), func() { foreign.Left(ruling) }, nil
}
