package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/migiwa/migiwa/bench/stranger"
)

// kind is a population.
type kind string

const (
	knownMTA   kind = "known"      // small mail servers that have sent before
	firstSeen  kind = "first seen" // the same, first seen during the attack
	provider   kind = "provider"   // one provider with several addresses
	newsletter kind = "newsletter"
	bot        kind = "bot"
	control    kind = "control" // an adversary's source, adversary.go
	prober     kind = "prober"
	hammerer   kind = "hammerer"
)

// honest are the populations whose mail must get through.
var honest = []kind{knownMTA, firstSeen, provider, newsletter}

// party is who acts: one sender or bot with one or more addresses.
type party struct {
	kind   kind
	hosts  []stranger.Host
	domain string // of its senders
	named  bool   // its names lead back
	spf    bool   // its domain has SPF
	rand   *rand.Rand

	rate     float64 // messages or guesses a scaled hour
	wrong    float64 // share of unknown recipients
	schedule []float64
	first    float64 // scaled second from which it acts
	list     []recipient
}

// recipient is one address and whether it exists.
type recipient struct {
	local string
	valid bool
}

// The shares and counts of the protocol, for each 1500 bots.
const (
	knownMTAs       = 60
	firstSeenMTAs   = 40
	providerHosts   = 8
	newsletters     = 2
	newsletterSize  = 250
	known           = 20   // addresses that bots with camouflage know
	mtasNamed       = 0.90 // of small mail servers
	mtasSPF         = 0.70
	mtasNearBots    = 0.54 // in networks of bots
	neverRetry      = 0.015
	throwAwayNames  = 50 // domains with SPF that bots share
	botsPerWide     = 133
	wideSpread      = 0.75 // Zipf exponents
	narrowSpread    = 0.60
	narrowsPerWide  = 66
	providerRate    = 100 // messages a scaled hour
	blastEvery      = 6 * hour
	blastTakes      = 1 * hour
	newsletterHosts = 2
)

// world is everybody.
type world struct {
	plan    *plan
	rand    *rand.Rand
	parties []*party
	taken   map[netip.Addr]bool
	bots    []netip.Prefix // the /16 of the bots
}

// newWorld makes everybody, from the seed alone.
func newWorld(p *plan) *world {
	w := &world{plan: p, rand: rand.New(rand.NewPCG(p.Seed, 0x6d696769)), taken: make(map[netip.Addr]bool)}
	for range max(4, p.Bots/botsPerWide) {
		w.bots = append(w.bots, w.freshWide())
	}
	for i := range knownMTAs {
		w.mta(knownMTA, fmt.Sprintf("mta%d.test", i), 0)
	}
	for i := range firstSeenMTAs {
		w.mta(firstSeen, fmt.Sprintf("new%d.test", i), p.begins(attack)+w.rand.Float64()*p.Attack*hour*0.9)
	}
	w.provider()
	for i := range newsletters {
		w.newsletter(i)
	}
	w.botnet()
	if p.Adversary {
		w.adversaries()
	}
	return w
}

// add adds a party with a random source of its own, so that what one does never
// shifts the dice of another.
func (w *world) add(k kind, domain string) *party {
	p := &party{kind: k, domain: domain, rand: rand.New(&dice{src: rand.NewPCG(w.rand.Uint64(), w.rand.Uint64())})}
	w.parties = append(w.parties, p)
	return p
}

// dice may be thrown by several goroutines.
type dice struct {
	mu  sync.Mutex
	src rand.Source
}

func (d *dice) Uint64() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.src.Uint64()
}

func (w *world) mta(k kind, domain string, first float64) {
	p := w.add(k, domain)
	p.named, p.spf = w.rand.Float64() < mtasNamed, w.rand.Float64() < mtasSPF
	wide := w.freshWide()
	if w.rand.Float64() < mtasNearBots {
		wide = w.bots[w.rand.IntN(len(w.bots))]
	}
	p.host(w.address(wide, w.rand.IntN(256)), "mail."+domain)
	p.rate, p.wrong, p.first = 0.5+2*w.rand.Float64(), 0.01+0.04*w.rand.Float64(), first
	p.schedule = mtaSchedules[w.rand.IntN(len(mtaSchedules))]
	if w.rand.Float64() < neverRetry {
		p.schedule = nil
	}
}

func (w *world) provider() {
	p := w.add(provider, "provider.test")
	p.named, p.spf = true, true
	wide, narrow := w.freshWide(), w.rand.IntN(256)
	for i := range providerHosts {
		p.host(w.address(wide, narrow), fmt.Sprintf("out%d.provider.test", i))
	}
	p.rate, p.wrong, p.schedule = providerRate, 0.005+0.025*w.rand.Float64(), poolSchedule
}

// newsletter has a list with 5 and 10 % of dead addresses.
func (w *world) newsletter(i int) {
	p := w.add(newsletter, fmt.Sprintf("list%d.test", i))
	p.named, p.spf = true, true
	wide, narrow := w.freshWide(), w.rand.IntN(256)
	for h := range newsletterHosts {
		p.host(w.address(wide, narrow), fmt.Sprintf("mail%d.list%d.test", h, i))
	}
	p.wrong, p.schedule = 0.05*float64(i+1), mtaSchedules[0]
	for n := range newsletterSize {
		r := w.recipient(p.rand, p.wrong)
		if !r.valid {
			r.local = fmt.Sprintf("gone%d.list%d", n, i)
		}
		p.list = append(p.list, r)
	}
}

// botnet clusters the bots: some networks have many, most have few.
func (w *world) botnet() {
	wides, narrows := zipf(len(w.bots), wideSpread), zipf(narrowsPerWide, narrowSpread)
	for i := range w.plan.Bots {
		p := w.add(bot, fmt.Sprintf("free%d.test", w.rand.IntN(5)))
		p.named = w.rand.Float64() < w.plan.Named
		if p.spf = w.rand.Float64() < w.plan.SPF; p.spf {
			p.domain = fmt.Sprintf("throw%d.test", w.rand.IntN(throwAwayNames))
		}
		addr := w.address(w.bots[wides.pick(w.rand)], narrows.pick(w.rand))
		p.host(addr, fmt.Sprintf("host%d.bots.test", i))
		p.rate = w.plan.Rate * (0.5 + w.rand.Float64())
		p.wrong = 1 - (0.005 + 0.045*w.rand.Float64())
		if w.plan.Hits > 0 {
			p.wrong = 1 - w.plan.Hits
		}
		p.schedule = botSchedule(p, w.plan)
		p.first = w.plan.begins(attack) + p.gap()
	}
}

// host adds an address. A party without a name has none in DNS and says an
// address literal.
func (p *party) host(addr netip.Addr, name string) {
	h := stranger.Host{Addr: addr, Hello: "[" + addr.String() + "]"}
	if p.named {
		h.Name, h.Hello = name, name
	}
	p.hosts = append(p.hosts, h)
}

// recipient draws one: a user, or somebody who never was.
func (w *world) recipient(r *rand.Rand, wrong float64) recipient {
	user := fmt.Sprintf("u%d", r.IntN(w.plan.Users))
	if r.Float64() < wrong {
		return recipient{local: user + string(rune('a'+r.IntN(26))) + string(rune('a'+r.IntN(26)))}
	}
	return recipient{local: user, valid: true}
}

// freshWide gives a /16 that nobody is in yet: public, or below 127 where
// connections are bound to their address.
func (w *world) freshWide() netip.Prefix {
	for {
		b := [4]byte{byte(11 + w.rand.IntN(200)), byte(w.rand.IntN(256))}
		if w.plan.Way == stranger.Bind {
			b[0] = 127
		}
		net := netip.PrefixFrom(netip.AddrFrom4(b), 16)
		a := net.Addr()
		if w.plan.Way != stranger.Bind && (a.IsLoopback() || a.IsPrivate() || !a.IsGlobalUnicast()) || w.taken[a] {
			continue
		}
		w.taken[a] = true
		return net
	}
}

// address gives a free address in the narrow-th /24 of a /16.
func (w *world) address(wide netip.Prefix, narrow int) netip.Addr {
	b := wide.Addr().As4()
	b[2] = byte(narrow)
	for tries := 1; ; tries++ {
		b[3] = byte(1 + w.rand.IntN(254))
		if a := netip.AddrFrom4(b); !w.taken[a] {
			w.taken[a] = true
			return a
		}
		if tries%500 == 0 {
			b[2]++ // full
		}
	}
}

// weights pick an index, low ones more often.
type weights []float64 // cumulated

func zipf(n int, exponent float64) weights {
	var w weights
	sum := 0.0
	for i := range n {
		sum += math.Pow(float64(i+1), -exponent)
		w = append(w, sum)
	}
	return w
}

func (w weights) pick(r *rand.Rand) int {
	i, _ := slices.BinarySearch(w, r.Float64()*w[len(w)-1])
	return min(i, len(w)-1)
}

// zone is what DNS knows of everybody, as the text of a zone file.
func (w *world) zone() string {
	var b strings.Builder
	spf := make(map[string][]string)
	for _, p := range w.parties {
		for _, h := range p.hosts {
			if h.Name != "" {
				o := h.Addr.As4()
				fmt.Fprintf(&b, "%d.%d.%d.%d.in-addr.arpa. PTR %s.\n%s. A %s\n", o[3], o[2], o[1], o[0], h.Name, h.Name, h.Addr)
			}
			if p.spf {
				spf[p.domain] = append(spf[p.domain], "ip4:"+h.Addr.String())
			} else if _, ok := spf[p.domain]; !ok {
				spf[p.domain] = nil
			}
		}
	}
	for domain, sources := range spf {
		fmt.Fprintf(&b, "%s. MX 10 mx.%s.\n", domain, domain)
		if sources != nil {
			fmt.Fprintf(&b, "%s. TXT \"v=spf1 %s -all\"\n", domain, strings.Join(sources, "\" \" "))
		}
	}
	return b.String()
}
