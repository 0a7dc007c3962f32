package main

import (
	"context"
	"net/netip"
	"reflect"
	"testing"

	"github.com/migiwa/migiwa/bench/stranger"
	"github.com/migiwa/migiwa/internal/dns"
)

func TestWorldComesFromItsSeed(t *testing.T) {
	p := standard()
	p.Adversary = true
	a, b := newWorld(&p), newWorld(&p)
	if !reflect.DeepEqual(a.parties, b.parties) {
		t.Error("one seed made two worlds")
	}
	p.Seed++
	if c := newWorld(&p); reflect.DeepEqual(a.parties, c.parties) {
		t.Error("two seeds made one world")
	}
	seen := make(map[netip.Addr]bool)
	for _, party := range a.parties {
		for _, h := range party.hosts {
			if seen[h.Addr] || !h.Addr.IsGlobalUnicast() || h.Addr.IsPrivate() {
				t.Errorf("%s has %s", party.kind, h.Addr)
			}
			seen[h.Addr] = true
		}
	}
}

func TestBoundAddressesAreThisMachines(t *testing.T) {
	p := standard()
	p.Way = stranger.Bind
	for _, party := range newWorld(&p).parties {
		if a := party.hosts[0].Addr; !a.IsLoopback() {
			t.Fatalf("%s has %s", party.kind, a)
		}
	}
}

// TestZone reads the zone as a server would.
func TestZone(t *testing.T) {
	p := standard()
	w := newWorld(&p)
	zone, err := dns.ParseZone(w.zone())
	if err != nil {
		t.Fatal(err)
	}
	named, spf := 0, 0
	for _, party := range w.parties {
		h := party.hosts[0]
		names, err := zone.PTR(context.Background(), h.Addr)
		if party.named != (err == nil && len(names.Names) > 0) {
			t.Errorf("%s %s: named %t, PTR %v, %v", party.kind, h.Addr, party.named, names.Names, err)
		}
		txt, err := zone.TXT(context.Background(), party.domain)
		if party.spf != (err == nil && len(txt.Texts) > 0) {
			t.Errorf("%s: SPF %t, TXT %q, %v", party.domain, party.spf, txt.Texts, err)
		}
		if party.kind == bot {
			named, spf = named+side(party.named), spf+side(party.spf)
		}
	}
	if named < 100 || named > 200 || spf < 40 || spf > 110 {
		t.Errorf("%d bots named, %d with SPF", named, spf)
	}
}
