package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/mail"
)

// world makes the events of a provider with some tens of thousands of accounts:
// by sessions, 55 % bots that guess addresses, 20 % mail from elsewhere, 5 % mail
// of users, 20 % users who read their mail, and now and then an administrator.
// A session's events have its trace, those of a reader the trace of the message.
// The same seed makes the same events.
type world struct {
	r     *rand.Rand
	begin time.Time
	span  time.Duration // over which the events are spread
	want  int64
	made  int64
	write func(event.Event)

	recent []stored // messages that somebody may fetch
	sample samples
}

// stored is a message in a mailbox.
type stored struct {
	trace   mail.TraceID
	account string
	size    int64
}

// samples are values of the events that are asked for later.
type samples struct{ from, to, id, ip, prefix, trace, subject []string }

const (
	accounts = 40_000
	domains  = 30_000 // that write to us
	bots     = 150_000
)

func newWorld(seed uint64, events int64, from, to time.Time, write func(event.Event)) *world {
	return &world{r: rand.New(rand.NewPCG(seed, 0x6d69)), begin: from, span: to.Sub(from) - time.Hour/12, want: events, write: write}
}

// session makes one session.
func (w *world) session() {
	at := w.begin.Add(time.Duration(float64(w.span) * float64(w.made) / float64(w.want)))
	s := &sender{w: w, at: at, trace: w.newTrace()}
	switch n := w.r.IntN(1000); {
	case n < 550:
		s.bot()
	case n < 750:
		s.incoming()
	case n < 800:
		s.submission()
	case n < 999:
		s.reader()
	default:
		s.event(event.Event{Kind: event.Setting, Actor: "command line, root", Account: w.account(), Verb: "quota", Reason: "500 MB → 2 GB"}, 0)
	}
}

const letters = "0123456789abcdefghjkmnpqrstvwxyz"

func (w *world) newTrace() mail.TraceID {
	var b [16]byte
	for i := range b {
		b[i] = letters[w.r.IntN(len(letters))]
	}
	return mail.TraceID(b[:])
}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// often gives small numbers more often, as Zipf's law has it.
func (w *world) often(n int) int { return int(math.Pow(float64(n), w.r.Float64())) - 1 }

var (
	families = []string{"sato", "suzuki", "takahashi", "tanaka", "watanabe", "ito", "yamamoto", "nakamura", "kobayashi", "kato", "smith", "mueller", "garcia", "rossi", "lee"}
	firsts   = []string{"taro", "hanako", "kenji", "yuki", "akira", "mika", "jiro", "naoko", "anna", "peter", "maria", "john", "li", "ken", "emi"}
	subjects = []string{"Re: meeting %d", "Invoice %d for November", "【重要】会議の件 %d", "お見積りの送付 %d", "Newsletter %d", "Fwd: photos %d", "Your order %d has shipped",
		"Re: Re: 打ち合わせの日程 %d", "Weekly report %d", "Password reset %d", "ご案内 %d", "Question about contract %d", "Build #%d failed", "[list] patch %d"}
	helos   = []string{"mail", "smtp", "mx1", "out", "relay", "mta-3"}
	clients = []string{"Thunderbird 140", "Apple Mail", "Outlook", "K-9 Mail", "mutt"}
	replies = []struct {
		code           int
		enhanced, text string
	}{
		{250, "2.0.0", "OK %d 5b1f17b1804b1-477a9%dsi1.130 - gsmtp"}, {250, "2.6.0", "<%d@example.net> [InternalId=%d, Hostname=TYCPR01.apcprd01.prod.example.com] Queued mail for delivery"},
		{250, "2.0.0", "Ok: queued as 4XyZ%dz%d"}, {550, "5.1.1", "The email account that you tried to reach does not exist. Please try double-checking the recipient's email address (%d-%d)"},
		{451, "4.7.1", "Greylisting in action, please come back later (%d.%d)"}, {452, "4.2.2", "The recipient's inbox is out of storage space %d %d"},
	}
)

func (w *world) account() string {
	n := w.often(accounts)
	return fmt.Sprintf("%s.%s%d@example.jp", firsts[n%len(firsts)], families[n/7%len(families)], n)
}

func (w *world) stranger() (address, domain string) {
	n := w.often(domains)
	domain = fmt.Sprintf("%s%d.example", families[n%len(families)], n)
	return fmt.Sprintf("%s%d@%s", pick(w.r, firsts), w.r.IntN(50), domain), domain
}

func (w *world) subject() string {
	format := pick(w.r, subjects)
	if n := w.r.IntN(100_000); n%2 == 0 {
		return fmt.Sprintf(format, n)
	}
	return fmt.Sprintf("Re: %s and %s, %d", pick(w.r, firsts), pick(w.r, families), w.r.IntN(1_000_000))
}

// sender makes the events of one session.
type sender struct {
	w     *world
	at    time.Time
	trace mail.TraceID
	base  event.Event // what all its events have
}

// event makes an event so long after the last one.
func (s *sender) event(e event.Event, after time.Duration) {
	s.at = s.at.Add(after + time.Duration(s.w.r.IntN(5_000_000)))
	e.Time, e.Node = s.at, "mx1.example.jp"
	if e.Trace == "" {
		e.Trace = s.trace
	}
	if e.Role == "" {
		e.Role = s.base.Role
	}
	if !e.IP.IsValid() && e.Role != "delivery" {
		e.IP, e.Port, e.Helo, e.TLS = s.base.IP, s.base.Port, s.base.Helo, s.base.TLS
	}
	s.w.made++
	s.w.write(e)
}

func (s *sender) from(role string, ip netip.Addr, helo, tls string) {
	s.base = event.Event{Role: role, IP: ip, Port: uint16(1024 + s.w.r.IntN(60_000)), Helo: helo, TLS: tls}
}

const tls13 = "TLS 1.3 TLS_AES_128_GCM_SHA256"

// bot guesses addresses. Bots live in some networks more than in others.
func (s *sender) bot() {
	w := s.w
	n := w.often(bots)
	prefix := uint32(n) / 6 * 2654435761
	ip := netip.AddrFrom4([4]byte{byte(1 + prefix>>24%220), byte(prefix >> 16), byte(prefix >> 8), byte(n*37 + 1)})
	if w.r.IntN(4000) == 0 {
		w.sample.ip = append(w.sample.ip, ip.String())
		w.sample.prefix = append(w.sample.prefix, netip.PrefixFrom(ip, 24).Masked().String())
	}
	s.from("mx", ip, fmt.Sprintf("[%s]", ip), "")
	s.event(event.Event{Kind: event.Connect}, 0)
	address, _ := w.stranger()
	for range 1 + w.r.IntN(2) {
		e := event.Event{Kind: event.Rcpt, From: "<" + address + ">", To: fmt.Sprintf("%s%d@example.jp", pick(w.r, families), w.r.IntN(10_000)), Name: "-", SPF: "none",
			Verdict: "defer", Why: "gate", Truth: "unknown", Identity: address[len(address)/2:] + " at " + ip.String(), Score: float32(int(w.r.Float64()*80)) / 10,
			Code: 451, Enhanced: "4.7.1", Ref: string(w.newTrace()[:6]), Evidence: fmt.Sprintf("%d unknown recipients from %d addresses in %d h", w.r.IntN(90), w.r.IntN(40), w.r.IntN(24))}
		e.Text = "Try again later (" + e.Ref + ")"
		if w.r.IntN(5) == 0 {
			e.Verdict, e.Why, e.Code, e.Enhanced, e.Text, e.Ref = "answer", "calm", 550, "5.1.1", "No such mailbox here", ""
		}
		s.event(e, 20*time.Millisecond)
	}
	s.event(event.Event{Kind: event.Close, Millis: int64(40 + w.r.IntN(500)), Size: int64(80 + w.r.IntN(200))}, 30*time.Millisecond)
}

// incoming brings a message from a server elsewhere.
func (s *sender) incoming() {
	w := s.w
	address, domain := w.stranger()
	n := w.often(domains)
	ip := netip.AddrFrom4([4]byte{198, byte(18 + n>>16), byte(n >> 8), byte(n)})
	name := pick(w.r, helos) + "." + domain
	s.from("mx", ip, name, tls13)
	to, id, subject := w.account(), fmt.Sprintf("%s.%d@%s", w.newTrace()[:12], w.r.IntN(1_000_000), domain), w.subject()
	if w.r.IntN(3000) == 0 {
		w.sample.from, w.sample.to, w.sample.id = append(w.sample.from, address), append(w.sample.to, to), append(w.sample.id, id)
		w.sample.trace, w.sample.subject = append(w.sample.trace, string(s.trace)), append(w.sample.subject, subject)
	}
	s.event(event.Event{Kind: event.Connect}, 0)
	s.event(event.Event{Kind: event.Rcpt, From: "<" + address + ">", To: to, Code: 250, Verdict: "answer", Why: "proven", Truth: "exists", Name: name, SPF: "pass",
		Identity: domain, Score: -4.5}, 40*time.Millisecond)
	size := int64(2000 * math.Exp(w.r.NormFloat64()*1.2))
	s.event(event.Event{Kind: event.Accept, From: "<" + address + ">", MessageID: id, Subject: subject, Size: size, Count: 1}, 60*time.Millisecond)
	s.event(event.Event{Kind: event.Stored, Role: "delivery", From: "<" + address + ">", To: to, Account: to, Mailbox: "INBOX", Size: size + 180}, 0)
	s.event(event.Event{Kind: event.Close, Millis: int64(100 + w.r.IntN(900)), Size: size + 300, Count: 1}, 30*time.Millisecond)
	w.recent = append(w.recent, stored{s.trace, to, size + 180})
	if len(w.recent) > 10_000 {
		w.recent = append(w.recent[:0], w.recent[5_000:]...)
	}
}

// home gives the address from which an account's owner comes.
func home(account string) netip.Addr {
	var n uint32
	for _, c := range account {
		n = n*31 + uint32(c)
	}
	return netip.AddrFrom4([4]byte{203, byte(n >> 16), byte(n >> 8), byte(n)})
}

// submission sends a user's message to some recipients elsewhere.
func (s *sender) submission() {
	w := s.w
	account := w.account()
	s.from("submission", home(account), "[192.168.1.7]", tls13)
	s.event(event.Event{Kind: event.Connect}, 0)
	s.event(event.Event{Kind: event.Login, Account: account, Verb: "SCRAM-SHA-256", Code: 235}, 80*time.Millisecond)
	var to []string
	for range 1 + w.often(6) {
		address, _ := w.stranger()
		to = append(to, address)
		s.event(event.Event{Kind: event.Rcpt, Account: account, From: "<" + account + ">", To: address, Code: 250}, 10*time.Millisecond)
	}
	size, number := int64(3000*math.Exp(w.r.NormFloat64())), w.made
	s.event(event.Event{Kind: event.Accept, Account: account, From: "<" + account + ">", MessageID: fmt.Sprintf("%s@example.jp", w.newTrace()), Subject: w.subject(), Size: size,
		Count: int64(len(to)), Queue: number}, 50*time.Millisecond)
	for _, address := range to {
		r := pick(w.r, replies)
		host := "mx." + address[len(address)-12:]
		e := event.Event{Kind: event.Attempt, Role: "delivery", From: "<" + account + ">", To: address, Queue: number, Size: size, IP: home(host), Port: 25, TLS: tls13, Host: host,
			Code: r.code, Enhanced: r.enhanced, Text: fmt.Sprintf(r.text, w.r.IntN(1_000_000_000), w.r.IntN(1_000_000)), Verb: "delivered", Millis: int64(200 + w.r.IntN(3000))}
		switch e.Code / 100 {
		case 4:
			e.Verb, e.Reason = "waiting", "next try at "+s.at.Add(5*time.Minute).Format(time.RFC3339)
		case 5:
			e.Verb = "failed"
		}
		s.event(e, time.Second)
		if e.Verb != "waiting" {
			s.event(event.Event{Kind: event.Settled, Role: "delivery", From: e.From, To: e.To, Queue: number, Host: host, Code: e.Code, Enhanced: e.Enhanced, Text: e.Text, Verb: e.Verb}, 0)
		}
	}
	s.event(event.Event{Kind: event.Close, Millis: int64(300 + w.r.IntN(2000)), Size: size, Count: 1}, 20*time.Millisecond)
}

// reader fetches mail.
func (s *sender) reader() {
	w := s.w
	account := w.account()
	client := pick(w.r, clients)
	s.from("imap", home(account), client, tls13)
	s.event(event.Event{Kind: event.Connect}, 0)
	s.event(event.Event{Kind: event.Login, Account: account, Verb: "PLAIN", Millis: int64(20 + w.r.IntN(60))}, 80*time.Millisecond)
	for range w.often(6) {
		if len(w.recent) == 0 {
			break
		}
		m := pick(w.r, w.recent)
		s.event(event.Event{Kind: event.Retrieve, Trace: m.trace, Session: s.trace, Account: m.account, Verb: "FETCH", Mailbox: "INBOX", Size: m.size}, 100*time.Millisecond)
	}
	s.event(event.Event{Kind: event.Close, Account: account, Millis: int64(1000 + w.r.IntN(100_000))}, 200*time.Millisecond)
}
