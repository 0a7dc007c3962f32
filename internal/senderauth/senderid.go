package senderauth

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/migiwa/migiwa/internal/dns"
	"github.com/migiwa/migiwa/internal/mail"
)

// SenderIDResult is the outcome of a Sender ID check (RFC 4406).
type SenderIDResult struct {
	Result  SPFResult
	Field   string       // the header field that names who is responsible
	Address mail.Address // what it names
}

// scopePRA is the scope of records for the purported responsible address (RFC
// 4406 section 3.1).
const scopePRA = "pra"

// CheckSenderID tells whether the domain of the address that a header purports
// to be responsible lets a client send for it. Few domains publish anything for
// this check and mailing lists fail it, so that a failure is no more than a
// label; DMARC is the check that authors ask for.
func CheckSenderID(ctx context.Context, r dns.Resolver, client netip.Addr, helo string, h *mail.Header) SenderIDResult {
	field, address, ok := Responsible(h)
	if !ok {
		return SenderIDResult{Result: SPFPermError}
	}
	c := newSPFCheck(ctx, r, client, helo)
	c.scope = scopePRA
	return SenderIDResult{c.address(address), field, address}
}

// Responsible gives the purported responsible address of a message and the
// field that holds it (RFC 4407 section 2). There is none when that field is
// not one address.
func Responsible(h *mail.Header) (field string, a mail.Address, ok bool) {
	field, value := responsibleField(h)
	list, err := mail.ParseAddressList(value)
	if err != nil || len(list) != 1 {
		return "", mail.Address{}, false
	}
	return field, list[0].Address, list[0].Address.Domain != ""
}

// responsibleField takes a resender before a sender before the author. A
// Resent-Sender from before the last resending, which transport fields show,
// gives way to its Resent-From.
func responsibleField(h *mail.Header) (name, value string) {
	first := map[string]string{}
	count := map[string]int{}
	older, transported := false, false
	for f := range h.All() {
		value := strings.TrimSpace(f.Value())
		if f.Is("Received") || f.Is("Return-Path") {
			transported = transported || count["Resent-From"] > 0
			continue
		}
		for _, name := range []string{"Resent-Sender", "Resent-From", "Sender", "From"} {
			if !f.Is(name) || value == "" {
				continue
			}
			if count[name]++; count[name] == 1 {
				first[name] = value
				older = older || name == "Resent-Sender" && transported
			}
		}
	}
	switch {
	case count["Resent-Sender"] > 0 && !older:
		return "Resent-Sender", first["Resent-Sender"]
	case count["Resent-From"] > 0:
		return "Resent-From", first["Resent-From"]
	case count["Sender"] == 1:
		return "Sender", first["Sender"]
	case count["Sender"] == 0 && count["From"] == 1:
		return "From", first["From"]
	}
	return "", ""
}

// selectSPF gives the records that speak for a scope: of SPF those of version
// 1; of Sender ID its own when there are some, else those of SPF (RFC 4406
// section 4.4).
func selectSPF(texts []string, scope string) []string {
	var spf, own []string
	for _, text := range texts {
		version, rest, _ := strings.Cut(text, " ")
		version = strings.ToLower(version)
		if version == "v=spf1" {
			spf = append(spf, text[len(version):])
		}
		if scopes, ok := strings.CutPrefix(version, "spf2.0/"); ok && scope != "" && slices.Contains(strings.Split(scopes, ","), scope) {
			own = append(own, " "+rest)
		}
	}
	if len(own) > 0 {
		return own
	}
	return spf
}
