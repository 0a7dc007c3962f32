package edge

import (
	"fmt"
	"strings"
	"time"
)

// Line is one line of an explanation for people.
type Line struct{ Label, Text string }

// Lines says an explanation in words.
func (x *Explanation) Lines(now time.Time) []Line {
	lines := []Line{{"verdict", x.verdict(now)}}
	if x.Source != "" {
		lines = append(lines, Line{"source", "never seen, or forgotten"})
		if x.OfSource != nil {
			lines[1].Text = x.OfSource.Words(now)
		}
	}
	if x.Identity != "" {
		text := "never seen, or forgotten"
		if x.OfIdentity != nil {
			text = x.OfIdentity.Words(now)
		}
		lines = append(lines, Line{"identity", x.Identity + ": " + text})
	}
	for _, n := range x.Networks {
		lines = append(lines, Line{"network", n.Words()})
	}
	lines = append(lines, Line{"score", x.Terms.words(x.Score, x.Gate)})
	return append(lines, Line{"penalty", fmt.Sprintf("begins at evidence %.1f; a distinct unknown recipient adds, wanted mail takes away", x.Threshold)})
}

// verdict says what the next attempt hears.
func (x *Explanation) verdict(now time.Time) string {
	reasons := map[string]string{
		Calm.String(): "nothing speaks against it", Proven.String(): "has sent wanted mail before",
		Admitted.String(): "has proved to be a mail server", Penalty.String(): "penalty of the source",
		IdentityPenalty.String(): "penalty of the sender", Gate.String(): "a newcomer in bad times",
	}
	text := x.Verdict + ": " + reasons[x.Why]
	switch {
	case !x.Until.IsZero():
		text += " until " + moment(x.Until, now)
	case !x.RetryFrom.IsZero():
		text += "; this transaction, tried again, is answered from " + moment(x.RetryFrom, now)
	case x.Wait > 0:
		text += "; the same transaction, tried again, is answered after " + span(time.Duration(x.Wait)*time.Second)
	}
	return text
}

// Words says what an entry holds.
func (h *History) Words(now time.Time) string {
	parts := []string{fmt.Sprintf("evidence %+.1f", h.Evidence)}
	add := func(holds bool, format string, args ...any) {
		if holds {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(h.Unknown > 0, "%s in %s", count(h.Unknown, "unknown recipient", "unknown recipients"), hours(now.Sub(h.Since)))
	add(h.Wanted > 0, "%s", count(h.Wanted, "wanted message", "wanted messages"))
	add(!h.Penalty.IsZero(), "in penalty until %s", moment(h.Penalty, now))
	add(h.Strikes > 0, "strike %d of 3", h.Strikes)
	add(h.Parole, "on parole")
	add(h.Proven, "proven")
	add(h.Admitted, "proved to be a mail server")
	add(!h.Waiting.IsZero(), "a transaction waits since %s", moment(h.Waiting, now))
	add(true, "last seen %s", moment(h.Seen, now))
	return strings.Join(parts, ", ")
}

// Words says what is known of a network.
func (n Neighbourhood) Words() string {
	if n.Bad+n.Good == 0 && n.Unknown == 0 && n.Sources == 0 {
		return "nothing of " + n.Network + " lately"
	}
	return fmt.Sprintf("%s from %s of %s in %d h; %.0f %% of votes",
		count(n.Unknown, "unknown recipient", "unknown recipients"), count(n.Sources, "address", "addresses"),
		n.Network, n.Hours, 100*n.Share)
}

func (t Terms) words(score, gate float64) string {
	return fmt.Sprintf("%+.1f, gated above %.1f: everybody %+.1f, recipient domain %+.1f, wide network %+.1f, narrow network %+.1f, name %+.1f, SPF %+.1f, parole %+.1f",
		score, gate, t.Root, t.Realm, t.Wide, t.Narrow, t.Name, t.SPF, t.Parole)
}

// count writes a number with its noun.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprint(n, " ", many)
}

// moment writes a time, and how far off it is.
func moment(t, now time.Time) string {
	at := t.UTC().Format("2006-01-02 15:04 UTC")
	if d := t.Sub(now); d > 0 {
		return at + " (in " + span(d) + ")"
	}
	return at + " (" + span(now.Sub(t)) + " ago)"
}

// span writes how long t seconds are.
func (t Time) span() string { return span(time.Duration(t) * time.Second) }

// hours writes a time that is known by the hour only.
func hours(d time.Duration) string {
	if d < 2*time.Hour {
		return "an hour or two"
	}
	return span(d)
}

// span writes how long something takes.
func span(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d d", d/(24*time.Hour))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return fmt.Sprintf("%d s", max(d, 0)/time.Second)
}
