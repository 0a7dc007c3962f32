package imapd

import (
	"strings"

	"github.com/migiwa/migiwa/internal/mail/outline"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// writeEnvelope writes an ENVELOPE (RFC 9051 section 7.5.2). Sender and
// Reply-To that are not there, or hold no address, are those of From.
func writeEnvelope(e *wire.Encoder, env *outline.Envelope) {
	e.Raw("(")
	e.Nstring(env.Date, env.HasDate)
	e.Raw(" ")
	e.Nstring(forPeople(env.Subject), env.HasSubject)
	from := outline.Addresses(env.From)
	writeAddresses(e, from)
	for _, field := range []string{env.Sender, env.ReplyTo} {
		list := outline.Addresses(field)
		if len(list) == 0 {
			list = from
		}
		writeAddresses(e, list)
	}
	for _, field := range []string{env.To, env.Cc, env.Bcc} {
		writeAddresses(e, outline.Addresses(field))
	}
	e.Raw(" ")
	e.Nstring(env.InReplyTo, env.HasInReplyTo)
	e.Raw(" ")
	e.Nstring(env.MessageID, env.HasMessageID)
	e.Raw(")")
}

// writeAddresses writes a list of addresses with a space before it.
func writeAddresses(e *wire.Encoder, list []outline.Address) {
	if len(list) == 0 {
		e.Raw(" NIL")
		return
	}
	e.Raw(" (")
	for _, a := range list {
		switch a.Role {
		case outline.GroupStart:
			e.Raw("(NIL NIL ")
			e.String(a.Mailbox)
			e.Raw(" NIL)")
		case outline.GroupEnd:
			e.Raw("(NIL NIL NIL NIL)")
		default:
			e.Raw("(")
			e.Nstring(forPeople(a.Name), a.Name != "")
			e.Raw(" ")
			e.Nstring(a.Route, a.Route != "")
			e.Raw(" ")
			e.String(a.Mailbox)
			e.Raw(" ")
			e.String(a.Host)
			e.Raw(")")
		}
	}
	e.Raw(")")
}

// forPeople folds white space, which folding of the header and careless
// programs leave in texts that only people read.
func forPeople(s string) string {
	if !strings.ContainsAny(s, "\t\r\n") && !strings.Contains(s, "  ") {
		return strings.Trim(s, " ")
	}
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == '\t' || r == '\r' || r == '\n' }), " ")
}

// writeStructure writes a BODYSTRUCTURE, or without the extension data a BODY
// (RFC 9051 section 7.5.2).
func writeStructure(e *wire.Encoder, root *outline.Part, extensible bool) {
	e.Raw("(")
	if root.Kind == outline.Multipart {
		writeMultipart(e, root, extensible)
	} else {
		writePart(e, root, extensible)
	}
	e.Raw(")")
}

func writeMultipart(e *wire.Encoder, p *outline.Part, extensible bool) {
	for i := range p.Children {
		writeStructure(e, &p.Children[i], extensible)
	}
	if len(p.Children) == 0 { // the grammar wants one
		writeStructure(e, &outline.Part{Type: "text", Subtype: "plain"}, extensible)
	}
	e.Raw(" ")
	e.String(p.Subtype)
	if extensible {
		e.Raw(" ")
		writeParams(e, p.Params)
		writeExtension(e, p)
	}
}

func writePart(e *wire.Encoder, p *outline.Part, extensible bool) {
	if p.NoMIME {
		p = &outline.Part{Type: p.Type, Subtype: p.Subtype, BodySize: p.BodySize, Lines: p.Lines}
	}
	rfc822 := p.Is("message/rfc822")
	if rfc822 {
		e.Raw(`"message" "rfc822" `)
	} else {
		e.String(p.Type)
		e.Raw(" ")
		e.String(p.Subtype)
		e.Raw(" ")
	}
	params := p.Params
	if p.Is("text/") && p.Param("charset") == "" {
		params = append(params[:len(params):len(params)], outline.Param{Name: "charset", Value: "us-ascii"})
	}
	writeParams(e, params)
	e.Raw(" ")
	e.Nstring(p.ID.Value, p.ID.Given)
	e.Raw(" ")
	e.Nstring(p.Description.Value, p.Description.Given)
	e.Raw(" ")
	if p.Encoding == "" {
		e.Raw(`"7bit"`)
	} else {
		e.String(p.Encoding)
	}
	e.Raw(" ")
	e.Number(p.BodySize)
	// Only RFC 9051 has message/global show what is in it.
	message := p.Kind == outline.Message && (rfc822 || e.UTF8)
	if message {
		e.Raw(" ")
		writeEnvelope(e, p.Envelope)
		e.Raw(" ")
		writeStructure(e, &p.Children[0], extensible)
	}
	if message || p.Is("text/") {
		e.Raw(" ")
		e.Number(p.Lines)
	}
	if extensible {
		e.Raw(" ")
		e.Nstring(p.MD5.Value, p.MD5.Given)
		writeExtension(e, p)
	}
}

func writeParams(e *wire.Encoder, list []outline.Param) {
	if len(list) == 0 {
		e.Raw("NIL")
		return
	}
	e.Raw("(")
	for i, p := range list {
		if i > 0 {
			e.Raw(" ")
		}
		e.String(p.Name)
		e.Raw(" ")
		e.String(p.Value)
	}
	e.Raw(")")
}

// writeExtension writes what all parts have at their end: disposition,
// language and location.
func writeExtension(e *wire.Encoder, p *outline.Part) {
	e.Raw(" ")
	if p.Disposition == "" && len(p.DispParams) == 0 {
		e.Raw("NIL")
	} else {
		e.Raw("(")
		e.String(p.Disposition)
		e.Raw(" ")
		writeParams(e, p.DispParams)
		e.Raw(")")
	}
	e.Raw(" ")
	if len(p.Language) == 0 {
		e.Raw("NIL")
	} else {
		e.Raw("(")
		for i, l := range p.Language {
			if i > 0 {
				e.Raw(" ")
			}
			e.String(l)
		}
		e.Raw(")")
	}
	e.Raw(" ")
	e.Nstring(p.Location.Value, p.Location.Given)
}
