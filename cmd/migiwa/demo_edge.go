package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/textproto"
	"path/filepath"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/node"
)

// demoProxy is where the demo's balancer is let in, which may speak for any
// client.
const demoProxy = "127.0.0.1:12525"

var demoBalancers = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// guesses are the names a botnet tries. Some five are enough; how many, chance
// has a hand in, so that nobody can count on the last one before.
var guesses = strings.Fields("aiko akira akiko akio asami ayumi chie daisuke emi fumio hana haruto hideki hiroshi " +
	"ichiro jiro junko kaori kazuo keiko kenji makoto mariko megumi naoki noriko osamu reiko ryo sakura satoshi " +
	"shinji taro tomoko tsuyoshi yoko yukio yumi")

// guess lets a computer of a botnet try addresses until it is held, and shows
// that it then hears one thing of everybody, while others hear the truth.
func (d *demo) guess(ctx context.Context) error {
	d.say("A computer of a botnet guesses addresses. It comes from 203.0.113.66, as a balancer's PROXY header says",
		fmt.Sprintf("swaks --server %s --proxy-version 1 --proxy-family TCP4 --proxy-source 203.0.113.66 --proxy-source-port 4000 "+
			"--proxy-dest 192.0.2.25 --proxy-dest-port 25 --from x@bot.test --to aiko@%s --quit-after RCPT", strings.Replace(demoProxy, ":", " --port ", 1), demoDomain))
	reply := &textproto.Error{}
	for _, name := range guesses {
		var err error
		if reply, err = d.ask("203.0.113.66", name); err != nil {
			return err
		}
		if reply.Code == 451 {
			break
		}
	}
	if reply.Code != 451 {
		return fmt.Errorf("%d guesses and not held: %v", len(guesses), reply)
	}
	d.say("From now on it hears the same of everybody, alice among them; an honest server goes on hearing the truth", "")
	held, err := d.ask("203.0.113.66", "alice")
	if err != nil {
		return err
	}
	if held.Code != 451 {
		return fmt.Errorf("held, but told of alice: %v", held)
	}
	for _, name := range []string{"alice", "nobody"} {
		if _, err := d.ask("198.51.100.25", name); err != nil {
			return err
		}
	}
	_, ref, _ := strings.Cut(held.Msg, "(ref ")
	return d.explain(ctx, strings.TrimSuffix(ref, ")"))
}

// ask names one recipient as a client of that address, and shows the reply.
func (d *demo) ask(client, name string) (*textproto.Error, error) {
	nc, err := net.Dial("tcp", demoProxy)
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	if _, err := fmt.Fprintf(nc, "PROXY TCP4 %s 192.0.2.25 4000 25\r\n", client); err != nil {
		return nil, err
	}
	c := textproto.NewConn(nc)
	if _, _, err := c.ReadResponse(220); err != nil {
		return nil, err
	}
	var reply *textproto.Error
	for _, line := range []string{"EHLO client.test", "MAIL FROM:<x@bot.test>", "RCPT TO:<" + name + "@" + demoDomain + ">"} {
		if err := c.PrintfLine("%s", line); err != nil {
			return nil, err
		}
		code, text, err := c.ReadResponse(0)
		if err != nil && !errors.As(err, &reply) {
			return nil, err
		}
		reply = &textproto.Error{Code: code, Msg: text}
	}
	d.show(fmt.Sprintf("%s asks for %s: %d %s", client, name, reply.Code, reply.Msg))
	return reply, nil
}

// explain shows what an operator is told of a deferral.
func (d *demo) explain(ctx context.Context, ref string) error {
	file := filepath.Join(d.dir, node.ConfigName)
	d.say("Why that was", fmt.Sprintf("migiwa edge show %s --config %s", ref, file))
	time.Sleep(time.Second) // deferred recipients are looked up, and recorded, a little later
	var text strings.Builder
	if err := (&edgeShowCmd{What: ref}).Run(ctx, &cli{Config: file}, &output{w: &text}); err != nil {
		return err
	}
	d.show(text.String())
	return nil
}
