package edge

import (
	"fmt"
	"time"
)

// String names the kind as events do.
func (k ChangeKind) String() string {
	return [...]string{"", "penalised", "extended", "absolved", "trusted"}[k]
}

// String names the truth as events do.
func (t Truth) String() string { return [...]string{"exists", "unknown", "former", "trap"}[t] }

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
	text := fmt.Sprintf("%d unknown recipients from %s %s", c.Unknown, who, within(a.Time-c.Since))
	n, l := e.networks.locked(a.Source.narrow, a.Time, narrowLife, false)
	defer l.Unlock()
	if n != nil && n.sources > 1 {
		text += fmt.Sprintf(", %d from %d addresses of %s", n.unknown, n.sources, a.Source.Narrow())
	}
	return text
}

// within says how long something took.
func within(t Time) string {
	if h := t / 3600; h > 1 {
		return fmt.Sprintf("in %d h", h)
	}
	return "in " + max(time.Duration(t)*time.Second, time.Minute).Round(time.Minute).String()
}
