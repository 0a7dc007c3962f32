package deliver

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/deliver/smtpc"
	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/queue"
)

// serve is a worker of d: it does jobs until the line stays empty or d may not
// have as many workers any more.
func (r *Runner) serve(d *destination) {
	r.Metrics.worker(1)
	var s *session
	for {
		j := r.await(d)
		if j == nil {
			break
		}
		s = r.do(d, s, j)
		r.done(d, j)
		if r.leaves(d) {
			break
		}
	}
	if s != nil {
		s.Quit()
	}
	r.Metrics.worker(-1)
	r.left(d)
}

// attempt is one try of a job and what it came to.
type attempt struct {
	job     *job
	start   time.Time
	hop     hop
	tls     string
	relays  bool          // the peer knows DSN and will report by itself
	replies []*mail.Reply // one for each recipient
}

// do delivers j over s, or over a new connection when s is nil, spent or has
// been closed by the peer meanwhile. It gives the connection for the next job.
func (r *Runner) do(d *destination, s *session, j *job) *session {
	a := &attempt{job: j, start: time.Now(), replies: make([]*mail.Reply, len(j.items))}
	if s != nil && (s.Broken || s.Sent >= r.limits.PerConnection) {
		s.Quit()
		s = nil
	}
	reused := s != nil
	var err error
	for {
		if s == nil {
			if s = r.dial(d, a); s == nil {
				return nil
			}
		}
		err = r.transact(s, a)
		var lost *smtpc.LostError
		if reused && errors.As(err, &lost) && lost.Step == "MAIL" && r.hard.Err() == nil {
			s.Close()
			s, reused = nil, false
			clear(a.replies)
			continue
		}
		break
	}
	r.Metrics.took(time.Since(a.start).Seconds())
	r.conclude(a)
	if err == nil {
		r.worked(d)
	} else if r.hard.Err() == nil {
		r.refusedUs(d, a.outcome(smtpc.AsReply(err)))
	}
	return s
}

// dial opens a connection for a; when there is none to be had, the attempt is
// concluded.
func (r *Runner) dial(d *destination, a *attempt) *session {
	domain := a.job.items[0].Domain
	s, at, err := r.connect(r.hard, domain, r.Routes.Find(domain))
	if err == nil {
		return s
	}
	reply := smtpc.AsReply(err)
	a.hop, a.tls = at, "none: no connection"
	for i := range a.replies {
		a.replies[i] = reply
	}
	r.conclude(a)
	if reply.Temporary() && r.hard.Err() == nil {
		r.refusedUs(d, a.outcome(reply))
	}
	return nil
}

// transact sends the job's message. Every recipient has a reply afterwards.
func (r *Runner) transact(s *session, a *attempt) error {
	a.hop, a.tls, a.relays = s.hop, s.tls, s.Ext.DSN
	m := a.job.message
	body, err := r.Queue.Open(r.hard, m)
	if err != nil {
		return a.all(&mail.Reply{Code: 451, Enhanced: "4.3.0", Text: "The message cannot be read here", Cause: err})
	}
	defer body.Close()
	from, err := r.envelopeSender(m, s.LMTP)
	if err != nil {
		return a.all(mail.AsReply(err))
	}
	p, err := fit(a.job, from, s.Ext, body)
	if err != nil {
		return a.all(mail.AsReply(err))
	}
	if len(p.rcpts) == 0 {
		a.replies = p.refused
		return nil
	}
	replies, err := s.Send(r.hard, &p.message, p.rcpts, p.content)
	n := 0
	for i := range a.replies {
		if a.replies[i] = p.refused[i]; a.replies[i] == nil {
			a.replies[i] = replies[n]
			n++
		}
	}
	return err
}

// envelopeSender gives the sender under which m leaves: mail of our users
// signed, so that bounces of it can be told. LMTP is delivery, not another
// host: what it stores shows the sender as it is.
func (r *Runner) envelopeSender(m *queue.Message, lmtp bool) (mail.Address, error) {
	if m.Origin != queue.Submission || lmtp {
		return m.From, nil
	}
	from, err := r.Intake.Directory.SignSender(r.hard, m.From, m.Created)
	if err != nil {
		return mail.Address{}, fmt.Errorf("sign sender: %w", err)
	}
	return from, nil
}

func (a *attempt) all(r *mail.Reply) error {
	for i := range a.replies {
		a.replies[i] = r
	}
	return nil
}

// outcome is a reply as it is remembered. What we found by ourselves has no
// host unless a host was reached.
func (a *attempt) outcome(r *mail.Reply) queue.Outcome {
	return queue.Outcome{Time: time.Now(), Host: a.hop.host, Code: r.Code, Enhanced: r.Enhanced, Text: r.Text}
}

// conclude records what an attempt came to: the results, and what follows for
// those who must hear of it.
func (r *Runner) conclude(a *attempt) {
	now := time.Now()
	m := a.job.message
	results := make([]queue.Result, len(a.job.items))
	for i := range a.job.items {
		it, reply := &a.job.items[i], a.replies[i]
		res := queue.Result{Recipient: it.ID, Message: m.ID, Outcome: a.outcome(reply)}
		switch {
		case reply.Code/100 == 2:
			res.State = queue.Delivered
		case reply.Temporary():
			res.State, res.Next = queue.Waiting, now.Add(r.limits.delay(it.Attempts+1))
		default:
			res.State = queue.Failed
		}
		results[i] = res
		r.recordAttempt(a, it, &res)
	}
	r.settle(&settlement{message: m, items: a.job.items, results: results, relayed: !a.relays})
}

func (r *Runner) recordAttempt(a *attempt, it *queue.Item, res *queue.Result) {
	r.Metrics.attempt(map[queue.State]string{queue.Delivered: "delivered", queue.Waiting: "deferred", queue.Failed: "failed"}[res.State])
	o := res.Outcome
	e := event.Event{Time: o.Time, Kind: event.Attempt, Trace: it.Message.Trace, Role: "delivery",
		TLS: a.tls, From: it.Message.From.Path(), To: it.Wire, Queue: it.Message.ID, Size: it.Message.Size,
		Host: o.Host, Code: o.Code, Enhanced: o.Enhanced, Text: o.Text, Verb: string(res.State),
		Reason: nextTry(res), Millis: time.Since(a.start).Milliseconds(), Next: takenOver(o.Text)}
	if remote, err := netip.ParseAddrPort(a.hop.address); err == nil { // not a Unix socket
		e = e.Peer(remote)
	}
	r.Events.Record(e)
}

// takenOver gives the trace that a message has on the node that took it, if it
// is one of this kind; its reply says so (receive.Session.Commit).
func takenOver(text string) mail.TraceID {
	id, ok := strings.CutPrefix(text, "Accepted as ")
	if trace := mail.TraceID(id); ok && trace.Valid() {
		return trace
	}
	return ""
}

func nextTry(res *queue.Result) string {
	if res.State == queue.Waiting {
		return fmt.Sprintf("next try at %s", res.Next.UTC().Format(time.RFC3339))
	}
	return ""
}
