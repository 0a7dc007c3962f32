package receive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/migiwa/migiwa/internal/deliver"
	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/filter/virus"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/mailbox"
)

// NotWanted is what a sender hears when a message is put off because its
// recipients, or their domain, want that. It says nothing of why.
var NotWanted = mail.Reply{Code: 451, Enhanced: "4.7.1", Text: "Try again later"}

// Filters are those of a node, and how far they go where nobody has said.
type Filters struct {
	Pipeline *filter.Pipeline
	// Default is the mode of a filter that neither the recipient nor its domain
	// has set.
	Default func(name string) filter.Mode
	// Own says that what our own users send is searched for viruses.
	Own bool
	// Placed hears of each copy that is for a mailbox here, before it is there;
	// nil: nobody wants to know.
	Placed func(ctx context.Context, m *filter.Message, p Placed) error
	// Judged hears of messages that are about to be accepted and whose sender
	// was checked by the filter "senderauth", and whether its policy took one out of
	// somebody's INBOX; nil: nobody wants to know.
	Judged func(ctx context.Context, m *filter.Message, filed bool) error
}

// Placed is what was decided of one copy.
type Placed struct {
	To       filter.Recipient
	Folder   string // of its mailbox, a name or special use; "" is the INBOX
	Findings []filter.Finding
	Mode     func(filter string) filter.Mode
}

// Inspection runs the filters on one message while it comes in. A nil one does
// nothing.
type Inspection struct {
	s      *Session
	copies []judged
	own    bool // of one of our own users: only viruses are looked for
	pipe   *io.PipeWriter
	read   chan parsed
	raw    []byte         // the message as it came, while it is small
	large  bool           // it is not
	change *filter.Change // for the copies that are changed
}

// maxKept is the size of a message, in octets, up to which filters get it from
// memory: a body that was just written can be read again only once it is synced.
const maxKept = 512 << 10

// judged is one copy of the message, for one target of one recipient.
type judged struct {
	rcpt, target int
	to           filter.Recipient
	modes        map[string]filter.Mode
	changed      bool // gets the message as the change has made it
}

type parsed struct {
	m   *filter.Message
	err error
}

// Inspect begins to filter the message for the recipients of the transaction.
// It gives nil when all of them have all filters off.
func (s *Session) Inspect(ctx context.Context, env *mail.Envelope) (*Inspection, error) {
	if s.Filters == nil {
		return nil, nil
	}
	in := &Inspection{s: s}
	on := false
	for i, r := range s.Recipients {
		for j := range r.Targets {
			j, err := s.judged(ctx, i, j)
			if err != nil {
				return nil, err
			}
			for _, mode := range j.modes {
				on = on || mode > filter.Off
			}
			in.copies = append(in.copies, j)
		}
	}
	if !on {
		return nil, nil
	}
	in.start(env)
	return in, nil
}

// InspectOwn begins to look for viruses in what one of our users sends.
func (s *Session) InspectOwn(env *mail.Envelope) *Inspection {
	if s.Filters == nil || !s.Filters.Own {
		return nil
	}
	in := &Inspection{s: s, own: true, copies: []judged{{modes: map[string]filter.Mode{virusFilter: filter.Nothing}}}}
	in.start(env)
	return in
}

// virusFilter is the one that a site must run on what its users send.
const (
	virusFilter  = "virus"
	milterFilter = "milter" // the one that changes messages
	senderFilter = "senderauth"
)

// ownVirus tells one of our users why his message was not sent.
var ownVirus = mail.Reply{Code: 554, Enhanced: "5.7.0", Text: "The message contains a virus and was not sent"}

// start reads the message while it comes in.
func (in *Inspection) start(env *mail.Envelope) {
	s := in.s
	r, w := io.Pipe()
	in.pipe, in.read = w, make(chan parsed, 1)
	e := filter.Envelope{Trace: string(s.Conn.Trace), Client: s.Conn.Remote.Addr().Unmap(), Hello: s.Conn.Hello.Name,
		From: env.From, Account: s.Account, Hostname: s.Hostname, TLS: s.Conn.TLS}
	e.ClientName, _ = s.Name.Name()
	go func() {
		p := readMessage(e, r)
		r.CloseWithError(p.err) // a writer must not wait for a reader that is gone
		in.read <- p
	}()
}

// readMessage contains what hostile input may do to the reader.
func readMessage(e filter.Envelope, r io.Reader) (p parsed) {
	p.err = filter.Contained(func() (err error) {
		p.m, err = filter.Read(e, r)
		return err
	})
	return p
}

// judged asks how far each filter may go with a copy.
func (s *Session) judged(ctx context.Context, rcpt, target int) (judged, error) {
	t := &s.Recipients[rcpt].Targets[target]
	j := judged{rcpt: rcpt, target: target, modes: map[string]filter.Mode{}}
	j.to = filter.Recipient{Address: s.Recipients[rcpt].Address, ID: t.Account, Detail: t.Detail}
	owner := t.Owner
	if t.Account != 0 {
		j.to.Account = owner.Key()
	} else if owner.IsNull() {
		owner = j.to.Address
	}
	set, err := s.Directory.Consents(ctx, t.Account, owner.Domain)
	if err != nil {
		return j, err
	}
	for _, f := range s.Filters.Pipeline.Filters {
		mode := filter.ModeIn(set, f.Name(), s.Filters.Default)
		if t.Account == 0 { // there is no folder of ours
			mode = min(mode, filter.Label)
		}
		j.modes[f.Name()] = mode
	}
	return j, nil
}

// Write takes the message as it came.
func (in *Inspection) Write(p []byte) (int, error) {
	if in != nil {
		if in.large = in.large || len(in.raw)+len(p) > maxKept; in.large {
			in.raw = nil
		} else {
			in.raw = append(in.raw, p...)
		}
		// What cannot be read is told by Judge; the message goes on.
		_, _ = in.pipe.Write(p)
	}
	return len(p), nil
}

// Abort ends an inspection whose message did not come in.
func (in *Inspection) Abort() {
	if in != nil {
		in.pipe.CloseWithError(errors.New("the message did not come in"))
	}
}

// Judge runs the filters on the message, which open gives again from its start,
// and settles what is special about each copy. It gives the reply when all
// recipients want the sender to try later.
func (in *Inspection) Judge(ctx context.Context, env *mail.Envelope, open func() (io.ReadCloser, error)) *mail.Reply {
	if in == nil {
		return nil
	}
	in.pipe.Close()
	p := <-in.read
	if p.err != nil {
		in.s.Record(event.Event{Kind: event.Fault, From: env.From.Path(), Reason: "filters: " + p.err.Error()})
		return nil
	}
	if !in.large {
		open = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(in.raw)), nil }
	}
	p.m.Keep(open)
	to := make([]filter.Recipient, len(in.copies))
	for i, c := range in.copies {
		to[i] = c.to
	}
	result := in.s.Filters.Pipeline.Run(ctx, p.m, to, func(i int, name string) bool { return in.copies[i].modes[name] > filter.Off })
	for _, f := range result.Failures {
		in.s.Record(event.Event{Kind: event.Fault, From: env.From.Path(), Verb: f.Filter, Reason: "filter " + f.Filter + ": " + f.Err.Error()})
	}
	if in.own {
		return in.refuseVirus(env, result.Findings[0])
	}
	reply := in.settle(env, result)
	if reply == nil {
		in.placed(ctx, p.m, result)
		in.judged(ctx, p.m, result)
	}
	return reply
}

// judged tells of the message where its sender was checked.
func (in *Inspection) judged(ctx context.Context, m *filter.Message, result filter.Result) {
	checked, filed := false, false
	for i, c := range in.copies {
		checked = checked || c.modes[senderFilter] > filter.Off
		filed = filed || c.modes[senderFilter] >= filter.Junk && in.s.Recipients[c.rcpt].Copies[c.target].Folder != "" &&
			slices.ContainsFunc(result.Findings[i], func(f filter.Finding) bool { return strings.HasPrefix(f.Symbol, "DMARC_FAIL") })
	}
	if !checked || in.s.Filters.Judged == nil {
		return
	}
	if err := in.s.Filters.Judged(ctx, m, filed); err != nil {
		in.s.Record(event.Event{Kind: event.Fault, Verb: senderFilter, Reason: err.Error()})
	}
}

// placed tells of the copies for mailboxes here.
func (in *Inspection) placed(ctx context.Context, m *filter.Message, result filter.Result) {
	if in.s.Filters.Placed == nil {
		return
	}
	for i, c := range in.copies {
		if c.to.Account == "" {
			continue
		}
		p := Placed{To: c.to, Folder: in.s.Recipients[c.rcpt].Copies[c.target].Folder, Findings: result.Findings[i],
			Mode: func(name string) filter.Mode { return c.modes[name] }}
		if err := in.s.Filters.Placed(ctx, m, p); err != nil {
			in.s.Record(event.Event{Kind: event.Fault, Verb: "filter", Reason: err.Error()})
			return
		}
	}
}

// refuseVirus gives the reply to a virus from one of our own users.
func (in *Inspection) refuseVirus(env *mail.Envelope, findings []filter.Finding) *mail.Reply {
	for _, f := range findings {
		if f.Symbol == virus.Found {
			in.record(env, in.copies[0], filter.Decision{Action: filter.Nothing, Score: f.Score}, findings)
			return ownVirus.Because(errors.New(f.Evidence))
		}
	}
	return nil
}

// settle decides for each copy. One reply stands for all: who wants a message
// put off that others take gets it into quarantine instead.
func (in *Inspection) settle(env *mail.Envelope, result filter.Result) *mail.Reply {
	decisions := make([]filter.Decision, len(in.copies))
	putOff := len(decisions) > 0
	for i, c := range in.copies {
		decisions[i] = filter.Decide(result.Findings[i], func(name string) filter.Mode { return c.modes[name] })
		putOff = putOff && decisions[i].Action == filter.Tempfail
	}
	if change, ok := result.Changes[milterFilter]; ok {
		in.change = &change
	}
	for i, c := range in.copies {
		d := decisions[i]
		in.copies[i].changed = in.change != nil && c.modes[milterFilter] >= filter.Label
		if d.Action == filter.Tempfail && !putOff {
			d.Action = filter.Quarantine
		}
		in.record(env, c, d, result.Findings[i])
		r := &in.s.Recipients[c.rcpt]
		if r.Copies == nil {
			r.Copies = make([]deliver.Copy, len(r.Targets))
		}
		r.Copies[c.target] = deliver.Copy{Fields: c.fields(result, i), Folder: folderOf(d.Action)}
	}
	if putOff {
		return &NotWanted
	}
	return nil
}

func folderOf(action filter.Mode) string {
	switch action {
	case filter.Junk:
		return `\Junk`
	case filter.Quarantine:
		return mailbox.Quarantine
	}
	return ""
}

// fields gives the header fields by which a copy shows what was found by those
// filters that may label it.
func (c judged) fields(result filter.Result, i int) string {
	var b strings.Builder
	for _, f := range result.Fields[i] {
		if c.modes[f.Filter] >= filter.Label {
			b.WriteString(f.Text)
		}
	}
	var shown []filter.Finding
	for _, f := range result.Findings[i] {
		if c.modes[f.Filter] >= filter.Label {
			shown = append(shown, f)
			b.WriteString(f.Field())
		}
	}
	if len(shown) > 0 {
		verdict, score := filter.Verdict(shown)
		fmt.Fprintf(&b, "X-Migiwa-Verdict: %s; score=%.1f\r\n", verdict, score)
	}
	return b.String()
}

// maxReason bounds the words of one event, in octets.
const maxReason = 2000

func (in *Inspection) record(env *mail.Envelope, c judged, d filter.Decision, findings []filter.Finding) {
	if len(findings) == 0 {
		return
	}
	var b strings.Builder
	for _, f := range findings {
		if b.Len() > maxReason {
			b.WriteString("…")
			break
		}
		fmt.Fprintf(&b, "%s %.1f (%s); ", f.Symbol, f.Score, f.Evidence)
	}
	e := event.Event{Kind: event.Finding, From: env.From.Path(), To: c.to.Address.Wire, Verb: d.Action.String(),
		Score: float32(d.Score), Reason: strings.TrimSuffix(b.String(), "; ")}
	if c.to.Account != "" {
		e.Mailbox = c.to.Account
	}
	in.s.Record(e)
}

// Forged takes away what a stranger has written in our name: labels, and
// results of checks that we would have made (RFC 8601 section 5). It tells
// whether there was any.
func (r *Reception) Forged(h *mail.Header) bool {
	n := h.DeleteFunc(func(f mail.Field) bool {
		return f.Is("X-Migiwa-Finding") || f.Is("X-Migiwa-Verdict") || f.Is("Authentication-Results") && claims(f.Value(), r.Hostname)
	})
	return n > 0
}

// claims tells whether a value of Authentication-Results names a server as its
// author: what stands before the first semicolon, but for comments, quotes and
// a version (RFC 8601 section 2.2).
func claims(value, hostname string) bool {
	var b strings.Builder
	depth := 0
	for _, r := range value {
		switch {
		case r == '(':
			depth++
		case r == ')' && depth > 0:
			depth--
		case depth > 0 || r == '"' || r == '\\':
		case r == ';':
			return names(b.String(), hostname)
		default:
			b.WriteRune(r)
		}
	}
	return names(b.String(), hostname)
}

func names(id, hostname string) bool {
	words := strings.FieldsFunc(id, func(r rune) bool { return r <= ' ' || r == '/' })
	return len(words) > 0 && strings.EqualFold(words[0], hostname)
}
