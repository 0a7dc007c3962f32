package aggregate

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// namespace is that of RFC 9990 section 3.1.
const namespace = "urn:ietf:params:xml:ns:dmarc-2.0"

// Write writes a report as XML.
func (r *Report) Write(w io.Writer) error {
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", " ")
	root := struct {
		XMLName xml.Name
		*Report
	}{xml.Name{Space: namespace, Local: "feedback"}, r}
	if err := e.Encode(root); err != nil {
		return fmt.Errorf("write aggregate report: %w", err)
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// Filename gives the name of the file that holds a report packed by gzip (RFC
// 9990 section 3.5.1). receiver is the domain of the reporter.
func (r *Report) Filename(receiver string) string {
	return fmt.Sprintf("%s!%s!%d!%d!%s.xml.gz", receiver, r.Policy.Domain, r.Metadata.Begin, r.Metadata.End, token(r.Metadata.ReportID))
}

// Subject gives the subject of the mail that carries a report (RFC 9990 section
// 3.5.2).
func (r *Report) Subject(submitter string) string {
	return fmt.Sprintf("Report Domain: %s Submitter: %s Report-ID: <%s>", r.Policy.Domain, submitter, r.Metadata.ReportID)
}

// token keeps letters and digits, which is what the identifier in the name of a
// file may have.
func token(s string) string {
	return strings.Map(func(c rune) rune {
		if c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
			return c
		}
		return -1
	}, s)
}
