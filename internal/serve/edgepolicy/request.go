package edgepolicy

import (
	"bufio"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/migiwa/migiwa/internal/serve/foreign"
)

// The limits of a request. Postfix's own are smaller.
const (
	maxAttributes = 100
	maxRequest    = 64 << 10
)

// Exists is the policy_context by which the second stage of a list is known,
// the one that only recipients that exist come to.
const Exists = "exists"

// readRequest reads the attributes of one request: lines name=value, and an
// empty line behind them. A name that comes twice, a line without "=" and a NUL
// are errors: Postfix sends none of them.
func readRequest(r *bufio.Reader) (map[string]string, error) {
	attributes := map[string]string{}
	for size := 0; ; {
		line, err := readLine(r, maxRequest-size)
		if err != nil {
			return nil, err
		}
		size += len(line) + 1
		if line == "" {
			return attributes, nil
		}
		name, value, ok := strings.Cut(line, "=")
		_, twice := attributes[name]
		switch {
		case !ok || name == "":
			return nil, fmt.Errorf("%.100q is not name=value", line)
		case twice:
			return nil, fmt.Errorf("%.100q is given twice", name)
		case len(attributes) >= maxAttributes:
			return nil, errors.New("too many attributes")
		}
		attributes[name] = value
	}
}

// readLine reads one line of at most so many octets, without its newline.
func readLine(r *bufio.Reader, most int) (string, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > most:
			return "", errors.New("the request is too long")
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil:
			return "", err
		}
		text := strings.TrimSuffix(strings.TrimSuffix(string(line), "\n"), "\r")
		if strings.IndexByte(text, 0) >= 0 {
			return "", errors.New("NUL in the request")
		}
		return text, nil
	}
}

// dunno leaves the decision to what follows in the server's list.
const dunno = "action=DUNNO\n\n"

// policy answers one request of Postfix.
func (s *Server) policy(r *bufio.Reader) (text string, after func(), err error) {
	a, err := readRequest(r)
	if err != nil {
		return "", nil, err
	}
	if a["request"] != "smtpd_access_policy" {
		return "", nil, fmt.Errorf("%.100q is no request of smtpd", a["request"])
	}
	none := func() {}
	client, ok := clientOf(a)
	if !ok || a["sasl_username"] != "" {
		return dunno, none, nil
	}
	known := s.Desk.Known(client.Remote)
	size, _ := strconv.ParseInt(a["size"], 10, 64) // 0 where it was not told
	switch a["protocol_state"] {
	case "RCPT", "VRFY":
	case "END-OF-MESSAGE":
		known.Accepted(size)
		return dunno, none, nil
	default:
		return dunno, none, nil
	}
	to := foreign.Address(a["recipient"])
	if a["policy_context"] == Exists {
		known.Staged(to)
		return dunno, none, nil
	}
	g := s.Desk.Guest(client)
	g.Hello(a["helo_name"])
	ruling := g.Ask(s.ctx, foreign.Transaction{ID: a["instance"], From: foreign.Address(a["sender"]), Size: size}, to, true)
	if ruling.Reply == nil {
		return dunno, none, nil
	}
	s.until(ruling.At)
	return fmt.Sprintf("action=%d %s %s\n\n", ruling.Reply.Code, ruling.Reply.Enhanced, ruling.Reply.Text), func() { foreign.Left(ruling) }, nil
}

// clientOf gives the client of a request. Postfix calls it "unknown" where no
// name leads back to the address, and the other name, too, where it found none.
func clientOf(a map[string]string) (foreign.Client, bool) {
	addr, err := netip.ParseAddr(a["client_address"])
	if err != nil {
		return foreign.Client{}, false
	}
	port, _ := strconv.ParseUint(a["client_port"], 10, 16) // 0 from Postfix before 3.2
	c := foreign.Client{Role: Role, Remote: netip.AddrPortFrom(addr.Unmap(), uint16(port)), Looked: true}
	if name := a["client_name"]; name != "unknown" {
		c.Name = name
	}
	return c, true
}
