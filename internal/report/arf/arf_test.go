package arf

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

const head = "From: <fbl@far.test>\r\nSubject: FW: prize\r\nMIME-Version: 1.0\r\n" +
	"Content-Type: multipart/report; report-type=feedback-report; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nA complaint.\r\n"

func message(report, original string) string {
	return head + "--b\r\nContent-Type: message/feedback-report\r\n\r\n" + report + "\r\n--b\r\n" + original + "\r\n--b--\r\n"
}

const (
	whole  = "Content-Type: message/rfc822\r\n\r\nReceived: from x by mx.here.test with ESMTPSA id T1; now\r\nMessage-ID: <1@here.test>\r\nSubject: prize\r\n\r\nbody"
	header = "Content-Type: text/rfc822-headers\r\n\r\nMessage-ID: <1@here.test>\r\nSubject: prize\r\n"
)

func TestRead(t *testing.T) {
	full := Report{Type: "abuse", UserAgent: "Far/1.0", Incidents: 3, MailFrom: "ann@here.test", RcptTo: []string{"x@far.test", "y@far.test"},
		Arrival: "Thu, 8 Mar 2005 14:00:00 EDT", Source: netip.MustParseAddr("192.0.2.1"), ReportingMTA: "mx.far.test", Domains: []string{"here.test"}}
	for name, c := range map[string]struct {
		text string
		want Report
	}{
		"all fields":    {message(string(full.Fields()), whole), full},
		"least":         {message("Feedback-Type: Fraud\r\nVersion: 1\r\n", header), Report{Type: "fraud", Incidents: 1}},
		"empty lines":   {message("\r\n\r\nFeedback-Type: other\r\nIncidents: x\r\nSource-IP: [2001:db8::1]\r\n", whole), Report{Type: "other", Incidents: 1, Source: netip.MustParseAddr("2001:db8::1")}},
		"failed proof":  {message("Feedback-Type: auth-failure\r\nAuth-Failure: DMARC\r\n", header), Report{Type: "auth-failure", Incidents: 1, AuthFailure: "dmarc"}},
		"encoded words": {message("Feedback-Type: abuse\r\nUser-Agent: =?utf-8?q?=E6=B1=80?=\r\n", header), Report{Type: "abuse", Incidents: 1, UserAgent: "汀"}},
	} {
		got, err := Read(strings.NewReader(c.text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got.Original.Get("Message-ID") != "<1@here.test>" || got.Original.Get("Subject") != "prize" {
			t.Errorf("%s: the original is %q", name, got.Original.Bytes())
		}
		if got.Original = nil; !reflect.DeepEqual(*got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, *got, c.want)
		}
	}
	for _, text := range []string{"", "Subject: x\r\n\r\nhello", head + "--b--\r\n", strings.Replace(message("", whole), "feedback-report\r\n\r\n", "delivery-status\r\n\r\n", 1)} {
		if r, err := Read(strings.NewReader(text)); !errors.Is(err, ErrNone) {
			t.Errorf("%q: %+v %v", text, r, err)
		}
	}
}

func TestManyFields(t *testing.T) {
	var b strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&b, "Original-Rcpt-To: <%d@far.test>\r\n", i)
	}
	if r, err := Read(strings.NewReader(message(b.String(), whole))); err != nil || len(r.RcptTo) != maxList {
		t.Errorf("%v %d", err, len(r.RcptTo))
	}
}

func FuzzRead(f *testing.F) {
	f.Add(message("Feedback-Type: abuse\r\n", whole))
	f.Add(message("Source-IP: x\r\n", header))
	f.Fuzz(func(t *testing.T, s string) {
		r, err := Read(strings.NewReader(s))
		if err == nil && (r.Original == nil || r.Incidents < 1) {
			t.Errorf("%+v", r)
		}
	})
}
