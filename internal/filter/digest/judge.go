package digest

import (
	"context"
	"slices"
	"time"
)

// What it takes.
const (
	// Bar is the weight of reports, after what counts against them, from which
	// a message is found.
	Bar = 1.5
	// againstSpam is what a report "no spam" costs reports of spam, as a
	// multiple of its weight.
	againstSpam = 2
	// againstKept is what one account costs that kept the message.
	againstKept = 0.02
	// unprovenLimit is the most that all weigh together who did not prove
	// right before, so that accounts made for the purpose come to nothing.
	unprovenLimit = Bar * 2 / 3
	// unprovenDomain is the same for those of one domain, where there is no
	// limit on all: that a message is no spam is often said by people who never
	// say anything else, in many domains.
	unprovenDomain = Bar / 3
	unlimited      = 1e9
)

// Lookup implements Store.
func (m *Memory) Lookup(_ context.Context, account string, prints []Print) (Opinion, error) {
	now := time.Now()
	var self uint64
	if account != "" {
		self, _ = m.account(account)
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	var best Opinion
	own := 0
	var ownAt time.Time
	for _, g := range groups(prints[:min(len(prints), maxPrints)]) {
		votes := m.votes(g)
		if len(votes) == 0 {
			continue
		}
		if v, ok := votes[self]; ok && account != "" && v.at.After(ownAt) {
			ownAt, own = v.at, -1
			if v.spam {
				own = 1
			}
		}
		if o := m.judge(g, votes, now); o.Confidence > best.Confidence || best.Spam+best.Good == 0 {
			best = o
		}
	}
	best.Own = own
	return best, nil
}

// votes gives the latest report of each reporter on a group.
func (m *Memory) votes(g group) map[uint64]*report {
	hits := map[*report]int{}
	for _, p := range g.prints {
		for _, r := range m.byPrint[p] {
			hits[r]++
		}
	}
	if len(hits) == 0 {
		return nil
	}
	latest := map[uint64]*report{}
	for r, n := range hits {
		if old := latest[r.reporter]; n >= min(g.need, len(g.prints)) && (old == nil || r.at.After(old.at)) {
			latest[r.reporter] = r
		}
	}
	return latest
}

// judge weighs the reports on a group.
func (m *Memory) judge(g group, votes map[uint64]*report, now time.Time) Opinion {
	o := Opinion{Near: g.need > 1, Kept: m.kept(g, now)}
	var spam, good side
	for id, v := range votes {
		if v.gone(now) {
			continue
		}
		proven := m.reporters[id].proven(now)
		if !v.spam {
			o.Good++
			good.add(v.domain, m.worth(v, now), proven)
			continue
		}
		o.Spam++
		if proven {
			o.Right++
		}
		o.Since = max(o.Since, now.Sub(v.at))
		spam.add(v.domain, m.worth(v, now), proven)
	}
	o.Domains = len(spam.domains)
	net := m.sum(&spam, unprovenLimit, unlimited) - againstSpam*m.sum(&good, unlimited, unprovenDomain) - againstKept*float64(o.Kept)
	if net >= Bar {
		o.Confidence = net / (net + Bar)
	}
	return o
}

// side is what speaks for one answer, by domain.
type side struct {
	domains  map[uint64]*weights
	newcomer float64 // sum over domains of unproven
}

type weights struct{ proven, unproven float64 }

func (s *side) add(domain uint64, worth float64, proven bool) {
	if s.domains == nil {
		s.domains = map[uint64]*weights{}
	}
	w := s.domains[domain]
	if w == nil {
		w = &weights{}
		s.domains[domain] = w
	}
	if proven {
		w.proven += worth
		return
	}
	w.unproven += worth
	s.newcomer += worth
}

// sum adds up a side within the limits of newcomers, all together and of one
// domain, and of domains. Where one domain is enough, all its users are known to
// the site, and nothing is limited.
func (m *Memory) sum(s *side, newcomers, ofDomain float64) float64 {
	n := float64(m.MinDomains)
	if n == 0 {
		n = 2
	}
	// 71 % of Bar where two domains must agree, 42 % where three must.
	limit, part := Bar/(n-0.6), 1.0
	if n == 1 {
		limit, ofDomain = unlimited, unlimited
	} else if s.newcomer > newcomers {
		part = newcomers / s.newcomer
	}
	sum := 0.0
	for _, w := range s.domains {
		sum += min(w.proven+min(part*w.unproven, ofDomain), limit)
	}
	return sum
}

// settleAround finds out what a new report proves of those before it, and what
// those before say of it.
func (m *Memory) settleAround(r *report, now time.Time) {
	var open []*report
	for _, g := range groups(r.prints) {
		for _, v := range m.votes(g) {
			if v.outcome >= 0 && !slices.Contains(open, v) {
				open = append(open, v)
			}
		}
	}
	// Of many, those it contradicts, then the last: the others had their turn.
	slices.SortFunc(open, func(a, b *report) int {
		if a.spam != b.spam {
			if a.spam != r.spam {
				return -1
			}
			return 1
		}
		return b.at.Compare(a.at)
	})
	for _, c := range open[:min(len(open), maxSettled)] {
		m.settle(c, now)
	}
	m.settle(r, now)
}

// settle finds out whether others agree with a report. Only those who came later
// prove it right: to say what others said before proves nothing.
func (m *Memory) settle(r *report, now time.Time) {
	if r.outcome < 0 {
		return
	}
	same, against, opposed, later := m.others(r, now)
	by := m.reporters[r.reporter]
	yes, no := m.sum(&same, unlimited, unprovenDomain), m.sum(&against, unlimited, unprovenDomain)
	same.add(r.domain, 0, true)
	// Many accounts are easily had, those of many domains are not.
	wider := m.MinDomains == 1 || len(against.domains) > len(same.domains)
	switch {
	case opposed >= opposing && wider && no > yes+by.weight(now):
		m.undo(r)
		by.fade(now)
		by.Wrong++
		r.outcome = -1
	case r.outcome > 0: // right already, and known to more
		by.agreed(later)
	case by.strangers(later) >= newAgreeing && yes > againstSpam*no:
		by.fade(now)
		by.Right++
		by.agreed(later)
		r.outcome = 1
	}
}

// others gives what the other reporters of a message say: those who agree with
// r, those who do not and how many they are, and who agreed later.
func (m *Memory) others(r *report, now time.Time) (same, against side, opposed int, later []uint64) {
	seen := map[uint64]bool{r.reporter: true}
	for _, g := range groups(r.prints) {
		for id, v := range m.votes(g) {
			if seen[id] {
				continue
			}
			seen[id] = true
			who := m.reporters[id]
			if v.spam != r.spam {
				against.add(v.domain, who.weight(now), who.proven(now))
				opposed++
				continue
			}
			same.add(v.domain, who.weight(now), who.proven(now))
			if v.at.After(r.at) {
				later = append(later, id)
			}
		}
	}
	return same, against, opposed, later
}

// undo takes back what a report earned, when its author thinks otherwise now, or
// others do.
func (m *Memory) undo(r *report) {
	by := m.reporters[r.reporter]
	if by != nil && r.outcome > 0 {
		by.Right = max(0, by.Right-1)
	}
}
