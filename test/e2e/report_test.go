package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/event/eventtest"
	"github.com/migiwa/migiwa/internal/senderauth/aggregate"
)

// What a sender's domain asks for goes out as a report; a report and a complaint
// of others that come in are read.
func TestReports(t *testing.T) {
	t.Parallel()
	far := newFakeHost(t, "")
	dir := t.TempDir()
	zone := filepath.Join(dir, "zone")
	records := "far.test. TXT \"v=spf1 -all\"\n_dmarc.far.test. TXT \"v=DMARC1; p=reject; rua=mailto:agg@far.test\"\n"
	if err := os.WriteFile(zone, []byte(records), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, route("far.test", far.Addr)+fmt.Sprintf("[dns]\nzone_file = %q\n[report]\naddress = \"reports@%s\"\norganisation = \"Here\"\nspam = \"spam@%s\"\n", zone, domain, domain),
		"reports", "reader")
	s.run("", "alias", "add", "spam@"+domain, "reports@"+domain)
	swaks := func(args ...string) {
		t.Helper()
		if out, err := tool(t, "", "swaks", append([]string{"--server", "127.0.0.1", "--port", s.port(25)}, args...)...); err != nil {
			t.Fatalf("swaks: %v\n%s", err, out)
		}
	}
	for range 2 {
		swaks("--from", "x@far.test", "--to", "reader@"+domain)
	}
	s.run("", "report", "send")
	var sent []string
	eventually(t, shortly, "a report", func() bool { sent, _ = far.seen(); return len(sent) > 0 })
	envelope, message, _ := strings.Cut(sent[0], "DKIM-Signature")
	r, err := aggregate.FromMessage(strings.NewReader("DKIM-Signature" + message))
	if err != nil {
		t.Fatalf("%v\n%s", err, sent[0])
	}
	if !strings.Contains(envelope, "RCPT TO:<agg@far.test>") || r.Metadata.OrgName != "Here" || r.Policy.Domain != "far.test" || r.Policy.Policy != "reject" ||
		len(r.Records) != 1 || r.Records[0].Count != 2 || r.Records[0].Source != "127.0.0.1" || r.Records[0].SPF != "fail" {
		t.Errorf("%s%+v", envelope, r)
	}

	file := filepath.Join(dir, "far!"+domain+"!1!2.xml")
	about := fmt.Sprintf("<feedback><report_metadata><org_name>Far</org_name><report_id>1</report_id><date_range><begin>%d</begin><end>%d</end></date_range></report_metadata>"+
		"<policy_published><domain>%s</domain><p>none</p></policy_published><record><row><source_ip>192.0.2.66</source_ip><count>9</count><policy_evaluated><dkim>fail</dkim><spf>fail</spf>"+
		"</policy_evaluated></row><identifiers><header_from>%s</header_from></identifiers></record></feedback>", time.Now().Unix()-86400, time.Now().Unix()-1, domain, domain)
	if err := os.WriteFile(file, []byte(about), 0o600); err != nil {
		t.Fatal(err)
	}
	swaks("--from", "dmarc@other.test", "--to", "reports@"+domain, "--attach-type", "text/xml", "--attach", "@"+file)
	eventually(t, shortly, "the report to be read", func() bool { return strings.Contains(s.run("", "report", "list", domain), "Far") })
	if out := s.run("", "report", "sources", domain); !strings.Contains(out, "192.0.2.66") || !strings.Contains(out, " 9 ") {
		t.Errorf("sources:\n%s", out)
	}
	s.complaint(t)
}

// complaint has a user's mail come back as a complaint, and asks for its trace.
func (s *server) complaint(t *testing.T) {
	t.Helper()
	s.submit("reader").send("reader@"+domain, []string{"x@far.test"}, "From: reader@"+domain+"\r\nMessage-ID: <sold@"+domain+">\r\nSubject: buy\r\n\r\nNow.\r\n")
	data := "From: fbl@far.test\nSubject: complaint\nMIME-Version: 1.0\nContent-Type: multipart/report; report-type=feedback-report; boundary=b\n\n--b\nContent-Type: message/feedback-report\n\n" +
		"Feedback-Type: abuse\nUser-Agent: x\nVersion: 1\nReporting-MTA: dns; mx.far.test\n\n--b\nContent-Type: message/rfc822\n\nMessage-ID: <sold@" + domain + ">\nSubject: buy\n\nNow.\n--b--\n"
	if out, err := tool(t, "", "swaks", "--server", "127.0.0.1", "--port", s.port(25), "--from", "fbl@far.test", "--to", "reports@"+domain, "--data", data); err != nil {
		t.Fatalf("swaks: %v\n%s", err, out)
	}
	var told string
	eventually(t, shortly, "the complaint", func() bool {
		for _, e := range eventtest.Events(t, filepath.Join(s.Dir, "data", "journal")) {
			if e.Kind == event.Report && e.Verb == "abuse" {
				told = fmt.Sprintf("%s <%s> %s", e.From, e.MessageID, e.Subject)
			}
		}
		return told != ""
	})
	if told != "mx.far.test <sold@"+domain+"> buy" {
		t.Errorf("told %s", told)
	}
}
