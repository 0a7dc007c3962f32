package report

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/filter/authentic"
	"github.com/migiwa/migiwa/internal/senderauth/aggregate"
	"github.com/migiwa/migiwa/internal/store/db"
)

// maxWaiting bounds how many different rows wait to be written. What is more is
// counted, but not told apart.
const maxWaiting = 20_000

// Tally counts messages for the reports that are sent. Its counts are in memory
// until Flush: what was not written is lost with the process.
type Tally struct {
	DB *db.DB

	mu   sync.Mutex
	rows map[tallyKey]int64
}

type tallyKey struct {
	day    int64
	domain string
	policy string // published, in JSON
	alike  string // aggregate.Record in JSON; "" for what is not told apart
}

// published is a policy, and where its reports go.
type published struct {
	aggregate.Policy
	RUA []string
}

// dayOf gives the day of a report: UTC, since 1970.
func dayOf(t time.Time) int64 { return t.Unix() / 86400 }

// Add counts a message whose author's domain wants reports. filed says that it
// was not put into the INBOX of everybody.
func (t *Tally) Add(m *filter.Message, p authentic.Proof, filed bool) error {
	record := p.DMARC.Record
	if record == nil || len(record.Reports) == 0 || !m.Client.IsValid() {
		return nil
	}
	policy, err := json.Marshal(published{policyOf(p), record.Reports})
	if err != nil {
		return err
	}
	alike, err := json.Marshal(recordOf(m, p, filed))
	if err != nil {
		return err
	}
	k := tallyKey{dayOf(time.Now()), record.Domain, string(policy), string(alike)}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rows == nil {
		t.rows = map[tallyKey]int64{}
	}
	if _, known := t.rows[k]; !known && len(t.rows) >= maxWaiting {
		k.alike = ""
	}
	t.rows[k]++
	return nil
}

// policyOf gives the record as it was found.
func policyOf(p authentic.Proof) aggregate.Policy {
	r := p.DMARC.Record
	out := aggregate.Policy{Domain: r.Domain, DiscoveryMethod: "treewalk", Policy: string(r.Policy), Subdomains: string(r.Subdomains),
		Nonexistent: string(r.Nonexistent), DKIM: "r", SPF: "r", Testing: "n"}
	if r.StrictDKIM {
		out.DKIM = "s"
	}
	if r.StrictSPF {
		out.SPF = "s"
	}
	if r.Testing {
		out.Testing = "y"
	}
	return out
}

// recordOf gives what messages must have in common to be counted as one.
func recordOf(m *filter.Message, p authentic.Proof, filed bool) aggregate.Record {
	word := map[bool]string{true: "pass", false: "fail"}
	r := aggregate.Record{Source: m.Client.String(), Disposition: "pass", DKIM: word[p.DMARC.DKIM], SPF: word[p.DMARC.SPF],
		EnvelopeFrom: string(m.From.Domain), HeaderFrom: p.DMARC.Domain,
		Senders: []aggregate.SPF{{Domain: p.SPFDomain, Scope: "mfrom", Result: string(p.SPF)}}}
	for _, s := range p.DKIM {
		r.Signatures = append(r.Signatures, aggregate.DKIM{Domain: s.Domain, Selector: s.Selector, Result: string(s.Result)})
	}
	switch {
	case r.Passed():
	case filed:
		r.Disposition = "quarantine"
	default:
		r.Disposition = "none"
		if p.DMARC.Policy != "none" {
			r.Reasons = []aggregate.Reason{{Type: "local_policy", Comment: "policies act as far as each recipient allows"}}
		}
	}
	return r
}

// Flush writes what was counted. After an error it is tried again.
func (t *Tally) Flush(ctx context.Context) error {
	t.mu.Lock()
	rows := t.rows
	t.rows = nil
	t.mu.Unlock()
	if len(rows) == 0 {
		return nil
	}
	err := t.DB.Write(ctx, func(tx *db.Tx) error {
		room := map[int64]int{} // of each policy
		for k, n := range rows {
			if err := k.write(tx, n, room); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rows == nil {
		t.rows = map[tallyKey]int64{}
	}
	for k, n := range rows {
		t.rows[k] += n
	}
	return fmt.Errorf("write counts for reports: %w", err)
}

// write adds n messages. What does not fit into a report any more is counted
// together.
func (k tallyKey) write(tx *db.Tx, n int64, room map[int64]int) error {
	_, err := tx.Exec(`INSERT INTO dmarc_policy (day, domain, policy, claimed) VALUES (?, ?, ?, 0) ON CONFLICT (day, domain, policy) DO NOTHING`, k.day, k.domain, k.policy)
	if err != nil {
		return err
	}
	var id int64
	if err := tx.Row(`SELECT id FROM dmarc_policy WHERE day = ? AND domain = ? AND policy = ?`, k.day, k.domain, k.policy).Scan(&id); err != nil {
		return err
	}
	if _, known := room[id]; !known {
		var used int
		if err := tx.Row(`SELECT count(*) FROM dmarc_row WHERE policy = ?`, id).Scan(&used); err != nil {
			return err
		}
		room[id] = aggregate.MaxRecords - used
	}
	if room[id]--; room[id] < 0 {
		k.alike = ""
	}
	_, err = tx.Exec(`INSERT INTO dmarc_row (policy, alike, count) VALUES (?, ?, ?)
		ON CONFLICT (policy, alike) DO UPDATE SET count = dmarc_row.count + excluded.count`, id, k.alike, n)
	return err
}
