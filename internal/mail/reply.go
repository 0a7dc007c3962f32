package mail

import (
	"errors"
	"fmt"
)

// Reply is an SMTP reply (RFC 5321 section 4.2) and, when its code is 4xx or
// 5xx, an error: Text is safe for any peer to read, Cause is for the log only.
type Reply struct {
	Code     int    // 200 to 599
	Enhanced string // RFC 3463 code without the text, "5.1.1"; empty where RFC 2034 allows none
	Text     string // one or more lines separated by \n, printable
	Cause    error  // why, for the event log; never shown to the peer
	Close    bool   // the connection is closed after this reply
}

// Error gives reply and cause, for logs.
func (r *Reply) Error() string {
	s := fmt.Sprintf("%d %s %s", r.Code, r.Enhanced, r.Text)
	if r.Enhanced == "" {
		s = fmt.Sprintf("%d %s", r.Code, r.Text)
	}
	if r.Cause != nil {
		s += ": " + r.Cause.Error()
	}
	return s
}

// Unwrap gives the cause.
func (r *Reply) Unwrap() error { return r.Cause }

// Temporary tells whether the peer may try again (4xx).
func (r *Reply) Temporary() bool { return r.Code/100 == 4 }

// Positive tells whether the command succeeded (2xx or 3xx).
func (r *Reply) Positive() bool { return r.Code/100 == 2 || r.Code/100 == 3 }

// Because gives a copy of r with its cause set.
func (r Reply) Because(cause error) *Reply {
	r.Cause = cause
	return &r
}

// AsReply finds the Reply in err. An error without one is temporary and says
// nothing of its cause: 451 4.3.0.
func AsReply(err error) *Reply {
	var r *Reply
	if errors.As(err, &r) {
		return r
	}
	return &Reply{Code: 451, Enhanced: "4.3.0", Text: "Temporary problem, try again later", Cause: err}
}
