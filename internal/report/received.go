package report

import (
	"context"
	"fmt"
	"time"

	"github.com/migiwa/migiwa/internal/senderauth/aggregate"
	"github.com/migiwa/migiwa/internal/store/db"
)

// keepFor is how long reports of others are kept.
const keepFor = 400 * 24 * time.Hour

// keep writes a report down, and tells whether it was not known yet.
func keep(tx *db.Tx, r *aggregate.Report) (news bool, err error) {
	now := time.Now()
	if _, err := tx.Exec(`DELETE FROM dmarc_report WHERE received < ?`, now.Add(-keepFor).UnixMilli()); err != nil {
		return false, err
	}
	m := r.Metadata
	n, err := tx.Exec(`INSERT INTO dmarc_report (org, report, domain, began, ended, received) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (org, report, domain, began) DO NOTHING`, m.OrgName, m.ReportID, r.Policy.Domain, int64(m.Begin), int64(m.End), now.UnixMilli())
	if err != nil || n == 0 {
		return false, err
	}
	var id int64
	err = tx.Row(`SELECT id FROM dmarc_report WHERE org = ? AND report = ? AND domain = ? AND began = ?`, m.OrgName, m.ReportID, r.Policy.Domain, int64(m.Begin)).Scan(&id)
	if err != nil {
		return false, err
	}
	for _, rec := range r.Records {
		passed := 0
		if rec.Passed() {
			passed = 1
		}
		_, err := tx.Exec(`INSERT INTO dmarc_report_row (report, source, count, passed, disposition, header_from, proof) VALUES (?, ?, ?, ?, ?, ?, ?)`,
			id, rec.Source, int64(rec.Count), passed, rec.Disposition, rec.HeaderFrom, proof(&rec))
		if err != nil {
			return false, err
		}
	}
	return true, nil
}

// proof says what SPF and DKIM said, in words.
func proof(r *aggregate.Record) string {
	out := ""
	for _, s := range r.Senders {
		out += fmt.Sprintf("spf=%s %s; ", s.Result, s.Domain)
	}
	for _, d := range r.Signatures {
		out += fmt.Sprintf("dkim=%s %s; ", d.Result, d.Domain)
	}
	return out[:max(len(out)-2, 0)]
}

// Received is one report of another site.
type Received struct {
	Org      string    `json:"org"`
	ID       string    `json:"id"`
	Domain   string    `json:"domain"`
	Begin    time.Time `json:"begin"`
	End      time.Time `json:"end"`
	Messages int64     `json:"messages"`
	Failed   int64     `json:"failed"` // not proven to be of the domain
}

// List gives the reports on a domain, or on all for "", that end after since,
// the newest first.
func List(ctx context.Context, d *db.DB, domain string, since time.Time) ([]Received, error) {
	var out []Received
	err := d.Read(ctx, func(tx *db.Tx) error {
		out = out[:0]
		return tx.Each(`SELECT r.org, r.report, r.domain, r.began, r.ended, COALESCE(SUM(w.count), 0), COALESCE(SUM(w.count * (1 - w.passed)), 0)
			FROM dmarc_report r LEFT JOIN dmarc_report_row w ON w.report = r.id WHERE (? = '' OR r.domain = ?) AND r.ended >= ?
			GROUP BY r.id, r.org, r.report, r.domain, r.began, r.ended ORDER BY r.ended DESC, r.id DESC`,
			[]any{domain, domain, since.Unix()}, func(scan func(...any) error) error {
				var r Received
				var began, ended int64
				err := scan(&r.Org, &r.ID, &r.Domain, &began, &ended, &r.Messages, &r.Failed)
				r.Begin, r.End = time.Unix(began, 0).UTC(), time.Unix(ended, 0).UTC()
				out = append(out, r)
				return err
			})
	})
	if err != nil {
		return nil, fmt.Errorf("read reports: %w", err)
	}
	return out, nil
}

// Source is one host that others have seen send mail of a domain.
type Source struct {
	Address   string `json:"address"`
	Messages  int64  `json:"messages"`
	Failed    int64  `json:"failed"`
	Reporters int64  `json:"reporters"`
	Proof     string `json:"proof"` // what SPF and DKIM said of some of what failed, or of some
}

// Sources gives the hosts that reports on a domain name, those with the most
// failures first.
func Sources(ctx context.Context, d *db.DB, domain string, since time.Time) ([]Source, error) {
	var out []Source
	err := d.Read(ctx, func(tx *db.Tx) error {
		out = out[:0]
		return tx.Each(`SELECT w.source, SUM(w.count), SUM(w.count * (1 - w.passed)) AS failed, COUNT(DISTINCT r.org),
				COALESCE(MAX(CASE WHEN w.passed = 0 THEN w.proof END), MAX(w.proof))
			FROM dmarc_report r JOIN dmarc_report_row w ON w.report = r.id WHERE r.domain = ? AND r.ended >= ?
			GROUP BY w.source ORDER BY failed DESC, SUM(w.count) DESC, w.source`,
			[]any{domain, since.Unix()}, func(scan func(...any) error) error {
				var s Source
				err := scan(&s.Address, &s.Messages, &s.Failed, &s.Reporters, &s.Proof)
				out = append(out, s)
				return err
			})
	})
	if err != nil {
		return nil, fmt.Errorf("read sources of reports: %w", err)
	}
	return out, nil
}
