package edge

// meter counts in a window that moves: the count of the running period and the
// fading share of the one before.
type meter struct {
	Period    uint32 // number of the running one
	Cur, Prev uint32
}

func (m *meter) roll(now Time, length uint32) {
	switch p := uint32(now) / length; {
	case p == m.Period:
	case p == m.Period+1:
		m.Period, m.Prev, m.Cur = p, m.Cur, 0
	default:
		m.Period, m.Prev, m.Cur = p, 0, 0
	}
}

// within gives the count of the last so many seconds.
func (m *meter) within(now Time, length uint32) float64 {
	m.roll(now, length)
	left := 1 - float64(uint32(now)%length)/float64(length)
	return float64(m.Cur) + left*float64(m.Prev)
}

// peak is the most that an account did on one day.
type peak struct {
	Hour     uint32 // recipients in an hour
	Day      uint32 // recipients
	Messages uint32 // in an hour
	Networks uint32 // wide networks in an hour
}

func (p *peak) raise(o peak) {
	p.Hour, p.Day = max(p.Hour, o.Hour), max(p.Day, o.Day)
	p.Messages, p.Networks = max(p.Messages, o.Messages), max(p.Networks, o.Networks)
}

// shares are recipients of whole days by kind, fading with a half-life of
// outboundDays.
type shares struct {
	New, Known, Unknown, Reached float32
}

func (s *shares) fade(half float64) {
	s.New, s.Known = s.New*float32(half), s.Known*float32(half)
	s.Unknown, s.Reached = s.Unknown*float32(half), s.Reached*float32(half)
}

func (s *shares) add(o shares) {
	s.New, s.Known = s.New+o.New, s.Known+o.Known
	s.Unknown, s.Reached = s.Unknown+o.Unknown, s.Reached+o.Reached
}

// share gives yes/(yes+no), with an expectation that counts as weight more.
func share(yes, no float32, expected, weight float64) float64 {
	return (float64(yes) + weight*expected) / (float64(yes+no) + weight)
}

// loginNet is a network that an account has logged in from.
type loginNet struct {
	Narrow, Wide uint64 // Source.narrow, Source.wide
	First        uint32 // day
	Last         Time
	Fresh        bool // since the day began
}

// loginNets are those of one account, at most networksMost.
type loginNets []loginNet

// visit notes a login. newNarrow, newWide: the account never used the network
// before; first is the login before this one from there, 0 when there is none.
func (n *loginNets) visit(s Source, now Time) (newNarrow, newWide bool, before Time) {
	newNarrow, newWide = true, true
	at := -1
	for i := range *n {
		k := &(*n)[i]
		if k.Wide != s.wide {
			continue
		}
		newWide = false
		if k.Narrow == s.narrow {
			newNarrow, at = false, i
		}
	}
	if at >= 0 {
		before = (*n)[at].Last
		(*n)[at].Last = now
		return newNarrow, newWide, before
	}
	k := loginNet{Narrow: s.narrow, Wide: s.wide, First: uint32(now) / daySpan, Last: now, Fresh: true}
	if len(*n) < networksMost {
		*n = append(*n, k)
	} else {
		(*n)[n.victim()] = k
	}
	return newNarrow, newWide, 0
}

// fresh tells whether the account's first login from there was today, and it
// has other networks of its own.
func (n loginNets) fresh(s Source) bool {
	is, others := false, false
	for i := range n {
		is = is || n[i].Fresh && n[i].Narrow == s.narrow
		others = others || !n[i].Fresh
	}
	return is && others
}

// victim gives the one that makes room: a fresh one, so that a crowd of new
// networks cannot push out the account's own, and of these the one used
// longest ago.
func (n loginNets) victim() int {
	v := 0
	for i := range n {
		if n[i].Fresh && !n[v].Fresh || n[i].Fresh == n[v].Fresh && n[i].Last < n[v].Last {
			v = i
		}
	}
	return v
}

// recent counts the wide networks used within the last hour.
func (n loginNets) recent(now Time) (count int) {
	for i := range n {
		if n[i].Last+hourSpan < now {
			continue
		}
		seen := false
		for j := range i {
			seen = seen || n[j].Wide == n[i].Wide && n[j].Last+hourSpan >= now
		}
		if !seen {
			count++
		}
	}
	return count
}

// lately counts the networks that came in the days before today: whoever
// travels finds new ones often.
func (n loginNets) lately(today uint32) (count int) {
	for i := range n {
		if !n[i].Fresh && n[i].First+outboundDays >= today && n[i].First < today {
			count++
		}
	}
	return count
}

// keep drops the networks for which ok is false, and takes the marks from the
// others.
func (n *loginNets) keep(ok func(*loginNet) bool) {
	out := (*n)[:0]
	for i := range *n {
		if k := (*n)[i]; ok(&k) {
			k.Fresh = false
			out = append(out, k)
		}
	}
	*n = out
}
