package mail

import (
	"errors"
	"fmt"
	"io"
	"testing"
)

func TestNotify(t *testing.T) {
	for _, c := range []struct {
		n              Notify
		text           string
		failure, delay bool
	}{
		{0, "", true, true},
		{NotifyNever, "NEVER", false, false},
		{NotifyFailure, "FAILURE", true, false},
		{NotifySuccess | NotifyDelay, "SUCCESS,DELAY", false, true},
		{NotifySuccess | NotifyFailure | NotifyDelay, "SUCCESS,FAILURE,DELAY", true, true},
	} {
		if c.n.String() != c.text || c.n.Failure() != c.failure || c.n.Delay() != c.delay {
			t.Errorf("%d: %q %v %v", c.n, c.n, c.n.Failure(), c.n.Delay())
		}
	}
}

func TestTraceID(t *testing.T) {
	seen := map[TraceID]bool{}
	for range 1000 {
		id := NewTraceID()
		if len(id) != 16 || seen[id] || safeToken(string(id)) != string(id) {
			t.Fatal(id)
		}
		seen[id] = true
	}
}

func TestReply(t *testing.T) {
	r := Reply{Code: 550, Enhanced: "5.1.1", Text: "No such user"}.Because(io.ErrUnexpectedEOF)
	wrapped := fmt.Errorf("rcpt: %w", r)
	if got := AsReply(wrapped); got != r || got.Temporary() || got.Positive() || !errors.Is(wrapped, io.ErrUnexpectedEOF) {
		t.Errorf("%+v", got)
	}
	if r.Error() != "550 5.1.1 No such user: unexpected EOF" || (&Reply{Code: 354, Text: "Go"}).Error() != "354 Go" {
		t.Error(r.Error())
	}
	if got := AsReply(io.EOF); got.Code != 451 || !got.Temporary() || got.Cause != io.EOF {
		t.Errorf("an unknown error must be temporary: %+v", got)
	}
}
