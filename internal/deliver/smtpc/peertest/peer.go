// Package peertest is an SMTP and LMTP server for tests that behaves as badly
// as it is told to.
package peertest

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Peer is the server. Its fields are set before Start or before the first
// connection; Script may be changed under Lock.
type Peer struct {
	// Script gives replies by verb, "" or missing for the usual one. Keys are
	// "connect", "EHLO", "HELO", "MAIL", "RCPT", "DATA", ".", "RSET", "AUTH" …;
	// "RCPT " and an address in angle brackets is for that recipient. Values
	// are whole replies without the last CRLF, or one of the words below.
	Script map[string]string
	Ext    []string // lines of the EHLO reply behind the first
	LMTP   bool
	Cert   *tls.Certificate // for STARTTLS

	IdleClose time.Duration // close a connection silent for so long; 0: never
	Delay     time.Duration // before each reply

	sync.Mutex
	Messages []Message // taken so far
	Commands []string  // heard so far
	Conns    int       // connections so far
	open     int
	MaxOpen  int // most at a time

	ln    net.Listener
	conns map[net.Conn]bool
	wg    sync.WaitGroup
}

// Words that a Script may give in place of a reply.
const (
	Close   = "close"   // close the connection
	Silence = "silence" // say nothing any more
	MidData = "middata" // for DATA: say 354 and close after some bytes
)

// Message is one taken message.
type Message struct {
	From string   // argument of MAIL FROM, parameters included
	To   []string // arguments of RCPT TO
	Data string   // dots removed
	TLS  bool
}

// Start listens on a free port of 127.0.0.1 until the test ends.
func (p *Peer) Start(t testing.TB) *Peer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.ln, p.conns = ln, map[net.Conn]bool{}
	p.wg.Go(p.accept)
	t.Cleanup(p.Stop)
	return p
}

// Stop ends the server and its connections.
func (p *Peer) Stop() {
	p.ln.Close()
	p.Lock()
	for c := range p.conns {
		c.Close()
	}
	p.Unlock()
	p.wg.Wait()
}

// Addr is host:port.
func (p *Peer) Addr() string { return p.ln.Addr().String() }

// Count gives the number of messages taken.
func (p *Peer) Count() int {
	p.Lock()
	defer p.Unlock()
	return len(p.Messages)
}

// Connections gives the number of connections so far.
func (p *Peer) Connections() int {
	p.Lock()
	defer p.Unlock()
	return p.Conns
}

// Set changes one entry of the script.
func (p *Peer) Set(key, reply string) {
	p.Lock()
	defer p.Unlock()
	if p.Script == nil {
		p.Script = map[string]string{}
	}
	p.Script[key] = reply
}

func (p *Peer) accept() {
	for {
		c, err := p.ln.Accept()
		if err != nil {
			return
		}
		p.Lock()
		p.Conns++
		p.open++
		p.MaxOpen = max(p.MaxOpen, p.open)
		p.conns[c] = true
		p.Unlock()
		p.wg.Go(func() {
			p.Serve(c)
			p.Lock()
			p.open--
			delete(p.conns, c)
			p.Unlock()
		})
	}
}

// dialogue is one connection.
type dialogue struct {
	p   *Peer
	c   net.Conn
	br  *bufio.Reader
	msg Message
	tls bool
}

// Serve runs the dialogue on c and closes it.
func (p *Peer) Serve(c net.Conn) {
	d := &dialogue{p: p, c: c, br: bufio.NewReader(c)}
	defer func() { d.c.Close() }()
	if !d.say("connect", "220 peer.test ESMTP") {
		return
	}
	for {
		if p.IdleClose > 0 {
			d.c.SetReadDeadline(time.Now().Add(p.IdleClose))
		}
		line, err := d.br.ReadString('\n')
		if err != nil || !d.command(strings.TrimRight(line, "\r\n")) {
			return
		}
	}
}

func (p *Peer) script(key string) string {
	p.Lock()
	defer p.Unlock()
	return p.Script[key]
}

// say sends the script's reply for key, or else the usual one. It tells
// whether the dialogue goes on.
func (d *dialogue) say(key, usual string) bool {
	s := d.p.script(key)
	switch s {
	case "":
		s = usual
	case Close:
		return false
	case Silence:
		io.Copy(io.Discard, d.c)
		return false
	}
	time.Sleep(d.p.Delay)
	_, err := io.WriteString(d.c, s+"\r\n")
	return err == nil && !strings.HasPrefix(s, "421")
}

func (d *dialogue) command(line string) bool {
	d.p.Lock()
	d.p.Commands = append(d.p.Commands, line)
	d.p.Unlock()
	verb, arg, _ := strings.Cut(line, " ")
	switch verb = strings.ToUpper(verb); verb {
	case "EHLO", "LHLO":
		lines := append([]string{"peer.test"}, d.p.Ext...)
		if d.p.Cert != nil && !d.tls {
			lines = append(lines, "STARTTLS")
		}
		return d.say(verb, "250-"+strings.Join(lines[:len(lines)-1], "\r\n250-")+"\r\n250 "+lines[len(lines)-1])
	case "MAIL":
		d.msg = Message{From: strings.TrimPrefix(arg, "FROM:"), TLS: d.tls}
		return d.say(verb, "250 2.1.0 ok")
	case "RCPT":
		return d.rcpt(strings.TrimPrefix(arg, "TO:"))
	case "DATA":
		return d.data()
	case "BDAT":
		return d.bdat(arg)
	case "STARTTLS":
		return d.starttls()
	case "QUIT":
		d.say(verb, "221 2.0.0 bye")
		return false
	}
	return d.say(verb, "250 2.0.0 ok")
}

func (d *dialogue) rcpt(arg string) bool {
	path, _, _ := strings.Cut(arg, " ")
	key := "RCPT " + path
	if d.p.script(key) == "" {
		key = "RCPT"
	}
	if s := d.p.script(key); s == "" || s[0] == '2' {
		d.msg.To = append(d.msg.To, arg)
	}
	return d.say(key, "250 2.1.5 ok")
}

func (d *dialogue) data() bool {
	if len(d.msg.To) == 0 && d.p.script("DATA") == "" {
		return d.say("no rcpt", "503 5.5.1 no recipients")
	}
	s := d.p.script("DATA")
	if s == MidData {
		io.WriteString(d.c, "354 go\r\n")
		io.ReadFull(d.br, make([]byte, 20))
		return false
	}
	if !d.say("DATA", "354 go") || s != "" && !strings.HasPrefix(s, "354") {
		return s != Close && s != Silence && !strings.HasPrefix(s, "421")
	}
	var b strings.Builder
	for {
		line, err := d.br.ReadString('\n')
		if err != nil {
			return false
		}
		if line == ".\r\n" {
			break
		}
		b.WriteString(strings.TrimPrefix(line, "."))
	}
	return d.taken(b.String())
}

func (d *dialogue) bdat(arg string) bool {
	n, last, _ := strings.Cut(arg, " ")
	size, err := strconv.Atoi(n)
	if err != nil {
		return d.say("bad", "501 5.5.4 size")
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(d.br, b); err != nil {
		return false
	}
	d.msg.Data += string(b)
	if last == "" {
		return d.say("BDAT", "250 2.0.0 chunk")
	}
	return d.taken(d.msg.Data)
}

// taken answers the end of a message, each recipient by itself with LMTP.
func (d *dialogue) taken(data string) bool {
	m := d.msg
	m.Data = data
	if !d.p.LMTP {
		if s := d.p.script("."); s == "" || s[0] == '2' {
			d.p.keep(m)
		}
		return d.say(".", "250 2.0.0 taken")
	}
	all := m.To
	for _, to := range all {
		path, _, _ := strings.Cut(to, " ")
		key := ". " + path
		if s := d.p.script(key); s == "" || s[0] == '2' {
			m.To = []string{to}
			d.p.keep(m)
		}
		if !d.say(key, "250 2.0.0 taken") {
			return false
		}
	}
	return true
}

func (p *Peer) keep(m Message) {
	p.Lock()
	defer p.Unlock()
	p.Messages = append(p.Messages, m)
}

func (d *dialogue) starttls() bool {
	if s := d.p.script("STARTTLS"); s != "" || d.p.Cert == nil {
		return d.say("STARTTLS", "502 5.5.1 no")
	}
	io.WriteString(d.c, "220 2.0.0 go\r\n")
	if d.p.script("handshake") != "" {
		io.WriteString(d.c, "this is no TLS\r\n")
		time.Sleep(10 * time.Millisecond)
		return false
	}
	t := tls.Server(d.c, &tls.Config{Certificates: []tls.Certificate{*d.p.Cert}})
	if t.Handshake() != nil {
		return false
	}
	d.c, d.br, d.tls = t, bufio.NewReader(t), true
	return true
}

// SelfSigned makes a certificate for names.
func SelfSigned(t testing.TB, names ...string) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: fmt.Sprint(names)}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
