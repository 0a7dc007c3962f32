package digest

import (
	"context"
	"fmt"
	"time"
)

// Store knows what was reported.
type Store interface {
	// Lookup gives what is known of a message with these fingerprints, for an
	// account, "" for nobody.
	Lookup(ctx context.Context, account string, prints []Print) (Opinion, error)
	// Report records that the account moved the message into its Junk folder,
	// or out of it. A later report of an account on the same message takes the
	// place of an earlier one.
	Report(ctx context.Context, account string, prints []Print, spam bool) error
	// Deliver records that the message came to lie in the inbox of the account:
	// not in Junk, where nobody would report it.
	Deliver(ctx context.Context, account string, prints []Print) error
}

// Opinion is what the reports of many say of one message.
type Opinion struct {
	// Confidence is 0 when there is not enough to say, else from 0.5, just
	// enough, towards 1.
	Confidence float64
	// Own is 1 when the account itself reported such a message as spam, -1
	// when it reported that it is none, 0 when it did not report it.
	Own int
	// Near says that it was found by likeness, not by being the same.
	Near bool

	Spam    int           // users who reported it as spam
	Right   int           // of these, those who proved right before
	Domains int           // of these users
	Good    int           // users who reported that it is no spam
	Kept    int           // users, estimated, who got it long ago and did not report it
	Since   time.Duration // the first report still kept was so long ago
}

// Words gives the reasons for people.
func (o Opinion) Words() string {
	what := "reported"
	if o.Near {
		what = "like a message reported"
	}
	s := fmt.Sprintf("%s by %s, %d of them proved right before, in %s", what, count(o.Spam, "user"), o.Right, duration(o.Since))
	if o.Good > 0 {
		s += fmt.Sprintf("; %s said it is no spam", count(o.Good, "user"))
	}
	if o.Kept > 0 {
		s += fmt.Sprintf("; some %d kept it", o.Kept)
	}
	return s
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func duration(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return "the last minutes"
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}
