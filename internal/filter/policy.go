package filter

import (
	"fmt"
	"slices"
)

// Mode is how far a recipient lets a filter go: each mode allows what the
// weaker ones do, too.
type Mode int

// The modes, weakest first.
const (
	Off        Mode = iota // the filter is not run
	Nothing                // it runs, and only the event log hears of it
	Label                  // findings become header fields
	Junk                   // the message may go to the Junk folder
	Quarantine             // it may be kept apart, for the recipient to release
	Tempfail               // the sender may be told to try later
)

var modeNames = []string{"off", "nothing", "label", "junk", "quarantine", "tempfail"}

// Modes gives the words for the modes, weakest first.
func Modes() []string { return slices.Clone(modeNames) }

// String gives the word for the mode.
func (m Mode) String() string {
	if m < Off || m > Tempfail {
		return fmt.Sprintf("mode %d", int(m))
	}
	return modeNames[m]
}

// ModeIn gives how far a filter may go by what somebody has agreed to, and what
// holds for filters that nobody has set.
func ModeIn(agreed map[string]string, name string, otherwise func(name string) Mode) Mode {
	if mode, err := ParseMode(agreed[name]); err == nil {
		return mode
	}
	return otherwise(name)
}

// ParseMode understands the word for a mode.
func ParseMode(word string) (Mode, error) {
	if i := slices.Index(modeNames, word); i >= 0 {
		return Mode(i), nil
	}
	return Off, fmt.Errorf("%q is none of off, nothing, label, junk, quarantine, tempfail", word)
}

// Bars are the scores from which something is done to a message.
const (
	// Spam is the bar for Junk.
	Spam = 6.0
	// SpamByWords is the bar when only filters speak that judge by words and
	// habits: these err on honest mail of a kind they have not seen.
	SpamByWords = 10.0
	// Sure is the bar for quarantine and tempfail. What a single finding
	// settles (a virus, a policy of the author's domain) scores as much.
	Sure = 12.0
	// Suspect is worth a word, no deed.
	Suspect = 4.0
)

// byWords judge a message by what it says and looks like.
var byWords = map[string]bool{"content": true, "learned": true}

// Decision is what becomes of a message for one recipient.
type Decision struct {
	Action Mode    // Nothing, Label, Junk, Quarantine or Tempfail
	Score  float64 // sum of what speaks for the action
}

// byWill are filters that say what the recipient or the site has said. What
// they say for a message counts for every action.
var byWill = map[string]bool{"access": true}

// Decide gives the strongest action whose bar is reached by the findings of
// those filters alone that the recipient lets go that far.
func Decide(findings []Finding, mode func(filter string) Mode) Decision {
	for action := Tempfail; action > Label; action-- {
		score, byOthers := 0.0, 0.0
		for _, f := range findings {
			if m := mode(f.Filter); m < action && (m < Label || f.Score > 0 || !byWill[f.Filter]) {
				continue
			}
			score += f.Score
			if !byWords[f.Filter] {
				byOthers += max(f.Score, 0)
			}
		}
		if score >= bar(action, byOthers) {
			return Decision{action, score}
		}
	}
	d := Decision{Action: Nothing}
	for _, f := range findings {
		if mode(f.Filter) >= Label {
			d.Action = Label
			d.Score += f.Score
		}
	}
	return d
}

// bar gives the score an action needs, when so much of it comes from filters
// that do not judge by words.
func bar(action Mode, byOthers float64) float64 {
	switch {
	case action > Junk:
		return Sure
	case byOthers < 1.5:
		return SpamByWords
	}
	return Spam
}

// Verdict sums findings up in a word: clean, suspect, spam or virus.
func Verdict(findings []Finding) (verdict string, score float64) {
	for _, f := range findings {
		score += f.Score
	}
	all := Decide(findings, func(string) Mode { return Tempfail })
	switch {
	case slices.ContainsFunc(findings, func(f Finding) bool { return f.Symbol == "VIRUS" }):
		return "virus", score
	case all.Action >= Junk:
		return "spam", score
	case score >= Suspect:
		return "suspect", score
	}
	return "clean", score
}
