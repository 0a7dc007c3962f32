package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/smtp"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/config"
	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/node"
)

const (
	demoDomain = "example.test" // reserved by RFC 6761
	demoOffset = 10000
)

// demoCmd shows a whole installation at work.
type demoCmd struct {
	Dir  string `help:"Where to install; made anew when it is not there." default:"demo" type:"path"`
	Once bool   `help:"End after the show instead of serving on."`
}

// demo is one run of it.
type demo struct {
	out   *output
	dir   string
	roots *x509.CertPool
	step  int
}

// say prints one step, with the command that does the same by hand.
func (d *demo) say(what, command string) {
	d.step++
	fmt.Fprintf(d.out.w, "\n%d. %s\n", d.step, what)
	if command != "" {
		fmt.Fprintf(d.out.w, "   $ %s\n", command)
	}
}

// show prints what came of a step.
func (d *demo) show(text string) {
	for line := range strings.Lines(text) {
		fmt.Fprintf(d.out.w, "   | %s\n", strings.TrimRight(line, "\r\n"))
	}
}

func (c *demoCmd) Run(ctx context.Context, out *output) error {
	d := &demo{out: out, dir: c.Dir}
	cfg, err := d.install(ctx)
	if err != nil {
		return err
	}
	n, err := node.Start(ctx, cfg, os.Stderr, logstoreCommand())
	if err != nil {
		return err
	}
	show := d.run(ctx, cfg, n)
	if show == nil && !c.Once {
		fmt.Fprintf(out.w, "\nServing on: 25 is %s, 587 is %s, 110 is %s. Ctrl-C ends it; `rm -r %s` forgets it.\n",
			port(25), port(587), port(110), c.Dir)
		select {
		case <-ctx.Done():
		case show = <-n.Failed():
		}
	}
	end, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	return errors.Join(show, n.Shutdown(end))
}

// port gives a standard port's number in the demo.
func port(standard int) string { return fmt.Sprint(standard + demoOffset) }

func address(standard int) string { return net.JoinHostPort("127.0.0.1", port(standard)) }

// install makes the installation, or takes the one of an earlier demo.
func (d *demo) install(ctx context.Context) (*config.Config, error) {
	file := filepath.Join(d.dir, node.ConfigName)
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		d.say("Install into "+d.dir, fmt.Sprintf("migiwa quickstart --dir %s --domain %s --hostname localhost.%s --listen 127.0.0.1 --port-offset %d --mx-proxy-listen %s --trust-proxy %s",
			d.dir, demoDomain, demoDomain, demoOffset, demoProxy, demoBalancers[0]))
		q := node.Quickstart{Dir: d.dir, Domain: demoDomain, Hostname: "localhost." + demoDomain, Listen: "127.0.0.1", PortOffset: demoOffset,
			MXProxy: demoProxy, TrustProxy: demoBalancers}
		s, err := q.Run(ctx)
		if err != nil {
			return nil, err
		}
		d.show(fmt.Sprintf("administrator %s, password %s", s.Admin, s.Password))
	} else if err != nil {
		return nil, err
	} else {
		d.say("Take the installation that is in "+d.dir, "")
	}
	pem, err := os.ReadFile(filepath.Join(d.dir, "tls", "cert.pem"))
	if err != nil {
		return nil, err
	}
	d.roots = x509.NewCertPool()
	d.roots.AppendCertsFromPEM(pem)
	return config.Load(file)
}

// demoUsers are the three accounts.
var demoUsers = []struct{ name, password string }{{"alice", "alice-demo-1"}, {"bob", "bob-demo-2"}, {"carol", "carol-demo-3"}}

func (d *demo) run(ctx context.Context, cfg *config.Config, n *node.Node) error {
	conf := " --config " + filepath.Join(d.dir, node.ConfigName)
	d.say("Serve", "migiwa serve"+conf)
	d.show("migiwa ready")
	for _, u := range demoUsers {
		a := mail.MakeAddress(u.name, demoDomain)
		d.say("Make an account for "+u.name, fmt.Sprintf("echo %s | migiwa account add %s --password-stdin%s", u.password, a, conf))
		_, err := n.Admin.AddAccount(ctx, "demo", a.Wire, u.password, nil)
		if errors.Is(err, directory.ErrExists) {
			d.show("is there from an earlier demo")
		} else if err != nil {
			return err
		}
	}
	steps := []func() error{d.receive, d.refuse, d.submit, d.fetch, func() error { return d.filter(ctx, n) }}
	if len(cfg.Listen.MXProxy) > 0 { // an installation of an earlier release has none
		steps = append(steps, func() error { return d.guess(ctx) })
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("demo, step %d: %w", d.step, err)
		}
	}
	return nil
}

func (d *demo) tls() *tls.Config {
	return &tls.Config{ServerName: "localhost." + demoDomain, RootCAs: d.roots}
}

func message(from, to, subject string) string {
	return "From: " + from + "\r\nTo: " + to + "\r\nSubject: " + subject + "\r\n" +
		"Date: " + mail.FormatDate(time.Now()) + "\r\n\r\nThe water's edge is quiet today.\r\n"
}

// receive lets a stranger's server bring mail for two users.
func (d *demo) receive() error {
	d.say("A server on the Internet brings mail for alice and bob to port 25",
		fmt.Sprintf("swaks --server 127.0.0.1:%s --tls --from friend@far.test --to alice@%s,bob@%s --header 'Subject: Hello'", port(25), demoDomain, demoDomain))
	c, err := smtp.Dial(address(25))
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.StartTLS(d.tls()); err != nil {
		return err
	}
	to := []string{"alice@" + demoDomain, "bob@" + demoDomain}
	if err := send(c, "friend@far.test", to, message("friend@far.test", strings.Join(to, ", "), "Hello")); err != nil {
		return err
	}
	d.show("accepted: it is on disk in both mailboxes")
	return c.Quit()
}

// refuse shows what an honest sender with a wrong address hears.
func (d *demo) refuse() error {
	d.say("A wrong address is refused at once, and so is relaying",
		fmt.Sprintf("swaks --server 127.0.0.1:%s --from friend@far.test --to nobody@%s --quit-after RCPT", port(25), demoDomain))
	c, err := smtp.Dial(address(25))
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Mail("friend@far.test"); err != nil {
		return err
	}
	for _, to := range []string{"nobody@" + demoDomain, "someone@elsewhere.test"} {
		err := c.Rcpt(to)
		var reply *textproto.Error
		if !errors.As(err, &reply) || reply.Code != 550 {
			return fmt.Errorf("RCPT %s: got %v, want 550", to, err)
		}
		d.show(fmt.Sprintf("%s: %d %s", to, reply.Code, reply.Msg))
	}
	return c.Quit()
}

// submit lets alice write to bob and carol.
func (d *demo) submit() error {
	d.say("alice logs in on port 587 and writes to bob and carol",
		fmt.Sprintf("swaks --server 127.0.0.1:%s --tls --auth PLAIN --auth-user alice@%s --auth-password %s --from alice@%s --to bob@%s,carol@%s",
			port(587), demoDomain, demoUsers[0].password, demoDomain, demoDomain, demoDomain))
	c, err := smtp.Dial(address(587))
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.StartTLS(d.tls()); err != nil {
		return err
	}
	if err := c.Auth(smtp.PlainAuth("", "alice@"+demoDomain, demoUsers[0].password, "127.0.0.1")); err != nil {
		return err
	}
	to := []string{"bob@" + demoDomain, "carol@" + demoDomain}
	if err := send(c, "alice@"+demoDomain, to, message("Alice <alice@"+demoDomain+">", strings.Join(to, ", "), "Dinner?")); err != nil {
		return err
	}
	d.show("accepted and signed with the domain's DKIM keys")
	return c.Quit()
}

func send(c *smtp.Client, from string, to []string, text string) error {
	if err := c.Mail(from); err != nil {
		return err
	}
	for _, t := range to {
		if err := c.Rcpt(t); err != nil {
			return err
		}
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write([]byte(text)); err != nil {
		return err
	}
	return w.Close()
}

// fetch reads every mailbox by POP3.
func (d *demo) fetch() error {
	for _, u := range demoUsers {
		number, text, err := d.newest(u.name+"@"+demoDomain, u.password)
		if err != nil {
			return err
		}
		d.say(u.name+" fetches mail by POP3 on port 110",
			fmt.Sprintf("curl -s --ssl-reqd -k -u %s@%s:%s pop3://127.0.0.1:%s/%d", u.name, demoDomain, u.password, port(110), number))
		d.show(text)
	}
	return nil
}

// newest gives the newest message of a mailbox and its number, by POP3 with STLS.
func (d *demo) newest(user, password string) (number int, text string, err error) {
	nc, err := net.Dial("tcp", address(110))
	if err != nil {
		return 0, "", err
	}
	defer nc.Close()
	c := popClient{textproto.NewConn(nc)}
	if _, err := c.answer(); err != nil {
		return 0, "", err
	}
	if _, err := c.command("STLS"); err != nil {
		return 0, "", err
	}
	c = popClient{textproto.NewConn(tls.Client(nc, d.tls()))}
	var status string
	for _, line := range []string{"USER " + user, "PASS " + password, "STAT"} {
		if status, err = c.command(line); err != nil {
			return 0, "", err
		}
	}
	var size int
	if _, err := fmt.Sscanf(status, "%d %d", &number, &size); err != nil {
		return 0, "", fmt.Errorf("STAT: %q: %w", status, err)
	}
	if _, err := c.command(fmt.Sprintf("RETR %d", number)); err != nil {
		return 0, "", err
	}
	raw, err := c.ReadDotBytes()
	if err != nil {
		return 0, "", err
	}
	_, err = c.command("QUIT")
	return number, string(raw), err
}

// popClient speaks just enough POP3 for the show.
type popClient struct{ *textproto.Conn }

func (c popClient) command(line string) (string, error) {
	if err := c.PrintfLine("%s", line); err != nil {
		return "", err
	}
	return c.answer()
}

func (c popClient) answer() (string, error) {
	line, err := c.ReadLine()
	if err != nil {
		return "", err
	}
	text, ok := strings.CutPrefix(line, "+OK")
	if !ok {
		return "", errors.New("POP3: " + line)
	}
	return strings.TrimSpace(text), nil
}
