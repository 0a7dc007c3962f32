package edge

import "fmt"

// String names the kind as events do.
func (k ChangeKind) String() string {
	return [...]string{"", "penalised", "extended", "absolved", "trusted"}[k]
}

// String names the truth as events do.
func (t Truth) String() string { return [...]string{"exists", "unknown", "former"}[t] }

// words says what a change rests on.
func (e *Engine) words(a *Attempt, c Change) string {
	who := "this address"
	if c.Identity {
		who = "this sender"
	}
	switch c.Kind {
	case Absolved, Trusted:
		return "wanted mail from " + who
	}
	text := count(c.Unknown, "unknown recipient", "unknown recipients") + " from " + who
	if t := a.Time - c.Since; t >= 60 {
		text += " in " + t.span()
	}
	n, l := e.networks.locked(a.Source.narrow, a.Time, narrowLife, false)
	defer l.Unlock()
	if n != nil && n.sources > 1 {
		text += fmt.Sprintf(", %d from %d addresses of %s", n.unknown, n.sources, a.Source.Narrow())
	}
	return text
}
