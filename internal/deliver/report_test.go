package deliver

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	netmail "net/mail"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/queue"
)

// readReport takes a report apart with the standard library.
func readReport(raw []byte) (parts []string, types []string, err error) {
	m, err := netmail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return nil, nil, err
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/report" {
		return nil, nil, fmt.Errorf("content type %q, %v", kind, err)
	}
	mr := multipart.NewReader(m.Body, params["boundary"])
	for {
		p, err := mr.NextRawPart()
		if err == io.EOF {
			return parts, types, nil
		}
		if err != nil {
			return nil, nil, err
		}
		b, err := io.ReadAll(p)
		if err != nil {
			return nil, nil, err
		}
		parts, types = append(parts, string(b)), append(types, p.Header.Get("Content-Type"))
	}
}

// FuzzReport: whatever peers and senders say, a report has its three parts,
// its machine part is a sequence of header blocks with the fields of RFC 3464
// exactly once, and no line is too long.
func FuzzReport(f *testing.F) {
	f.Add("user@there.test", "no such user", "mx.there.test", "5.1.1", "Subject: x\r\nMessage-ID: <a@b>\r\n", "env", "rfc822;x@y", false)
	f.Add("a\r\nAction: delivered@x", "a\r\n\r\nFinal-Recipient: evil", "h\r\n--boundary", "5", "\r\n\r\n--x\r\n", "e\r\nX: y", "x;\r\n\r\n", true)
	f.Add("利用者@例え.test", strings.Repeat("語", 900), strings.Repeat("h", 3000), "4.9.999", "no colon", "\xff\x00", "utf-8;語", true)
	f.Fuzz(func(t *testing.T, rcpt, text, host, enhanced, header, envid, orcpt string, utf8 bool) {
		r := &Report{Action: ActionFailed, Hostname: "mx.here.test", To: mail.Address{Wire: rcpt}, EnvID: envid, UTF8: utf8,
			Arrival: time.Now(), Now: time.Now(), Original: &Original{Header: []byte(header)},
			Recipients: []ReportedRecipient{{mail.Recipient{Address: mail.Address{Local: rcpt, Wire: rcpt}, ORcpt: orcpt},
				queue.Outcome{Time: time.Now(), Host: host, Code: 550, Enhanced: enhanced, Text: text}}},
		}
		var b bytes.Buffer
		n, err := r.WriteTo(&b)
		if err != nil || n != int64(b.Len()) {
			t.Fatalf("%d of %d octets, %v", n, b.Len(), err)
		}
		parts, types, err := readReport(b.Bytes())
		if err != nil || len(parts) != 3 {
			t.Fatalf("%d parts %q, %v:\n%s", len(parts), types, err, b.Bytes())
		}
		checkStatus(t, parts[1], utf8)
		own := strings.Split(b.String(), types[2])[0]
		for line := range strings.SplitSeq(own, "\r\n") {
			if len(line) > 998 || strings.ContainsAny(line, "\r\n\x00") {
				t.Errorf("line of %d octets: %.80q", len(line), line)
			}
		}
	})
}

func checkStatus(t *testing.T, part string, utf8 bool) {
	t.Helper()
	tr := textproto.NewReader(bufio.NewReader(strings.NewReader(part + "\r\n")))
	for i, want := range [][]string{{"Reporting-Mta", "Arrival-Date"}, {"Final-Recipient", "Action", "Status"}} {
		h, err := tr.ReadMIMEHeader()
		if err != nil && err != io.EOF {
			t.Fatalf("block %d: %v:\n%s", i, err, part)
		}
		for _, name := range want {
			if len(h[name]) != 1 {
				t.Errorf("block %d: %s %d times:\n%s", i, name, len(h[name]), part)
			}
		}
		if i == 1 && (h.Get("Action") != "failed" || !strings.HasPrefix(h.Get("Status"), "5.") && !strings.HasPrefix(h.Get("Status"), "4.")) {
			t.Errorf("action %q status %q", h.Get("Action"), h.Get("Status"))
		}
	}
	if rest, _ := io.ReadAll(tr.R); len(bytes.TrimSpace(rest)) > 0 {
		t.Errorf("more than two blocks: %q", rest)
	}
	if !utf8 && !ascii(part) {
		t.Errorf("not ASCII: %q", part)
	}
}

func TestReportKinds(t *testing.T) {
	base := func() *Report {
		to, _ := mail.ParseAddress("bob@there.test")
		from, _ := mail.ParseAddress("alice@here.test")
		return &Report{Action: ActionFailed, Hostname: "mx.here.test", To: from, Arrival: time.Now(), Now: time.Now(), Until: time.Now(),
			Recipients: []ReportedRecipient{{mail.Recipient{Address: to}, queue.Outcome{Time: time.Now(), Host: "192.0.2.1", Code: 550, Enhanced: "5.1.1", Text: "no"}}},
			Original:   &Original{Header: []byte("Subject: x\r\n"), Body: strings.NewReader("body\r\n")}}
	}
	for _, c := range []struct {
		name  string
		edit  func(r *Report)
		types string
		want  string
	}{
		{"failed", func(*Report) {}, "text/plain; charset=utf-8|message/delivery-status|message/rfc822", "Status: 5.1.1\r\nRemote-MTA: dns; [192.0.2.1]\r\n"},
		{"headers only", func(r *Report) { r.Original.Body = nil }, "text/plain; charset=utf-8|message/delivery-status|text/rfc822-headers", "Subject: x"},
		{"delayed", func(r *Report) { r.Action = ActionDelayed; r.Recipients[0].Outcome.Enhanced = "4.4.1" }, "", "Status: 4.4.1"},
		{"delayed without an attempt", func(r *Report) { r.Action = ActionDelayed; r.Recipients[0].Outcome = queue.Outcome{} }, "", "Status: 4.0.0\r\nWill-Retry-Until: "},
		{"delivered", func(r *Report) { r.Action = ActionDelivered; r.Recipients[0].Outcome = queue.Outcome{} }, "", "Action: delivered\r\nStatus: 2.0.0\r\n"},
		{"relayed", func(r *Report) { r.Action = ActionRelayed }, "", "Action: relayed\r\nStatus: 2.0.0\r\n"},
		{"expanded", func(r *Report) { r.Action = ActionExpanded }, "", "Action: expanded\r\nStatus: 2.0.0\r\n"},
		{"envelope id", func(r *Report) { r.EnvID = "a b" }, "", "Original-Envelope-Id: a+20b\r\n"},
		{"our own finding", func(r *Report) { r.Recipients[0].Outcome.Host = "" }, "", "Diagnostic-Code: x-migiwa; 550 5.1.1 no\r\n"},
		{"SMTPUTF8", func(r *Report) { r.UTF8, r.Recipients[0].Wire = true, "利用者@there.test" },
			"text/plain; charset=utf-8|message/global-delivery-status|message/global", "Final-Recipient: utf-8; 利用者@there.test\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := base()
			c.edit(r)
			var b bytes.Buffer
			r.WriteTo(&b)
			_, types, err := readReport(b.Bytes())
			if err != nil || c.types != "" && strings.Join(types, "|") != c.types {
				t.Errorf("types %q, %v", types, err)
			}
			if !strings.Contains(b.String(), c.want) {
				t.Errorf("lacks %q:\n%s", c.want, b.String())
			}
		})
	}
}
