package report

import (
	"bytes"
	"compress/gzip"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/migiwa/migiwa/internal/bus"
	"github.com/migiwa/migiwa/internal/dns"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/senderauth/aggregate"
	"github.com/migiwa/migiwa/internal/store/db"
)

// Daily sends the reports of the days that are over. Several nodes may do so on
// one database. A node that dies in between sends a report twice, under one
// name, by which its reader knows it.
type Daily struct {
	Post
	DB           *db.DB
	Tally        *Tally
	Bus          *bus.Bus
	Resolver     dns.Resolver
	Organisation string // in reports
	Log          *slog.Logger
}

const (
	flushEvery = 10 * time.Second
	sendEvery  = 10 * time.Minute
	claimTime  = time.Hour // until another node may try
	keepDays   = 3         // that DNS of a domain may fail
)

// Topic of the bus: who publishes here wants the reports sent now.
const Topic = "report"

// Run flushes the tally and sends, until ctx ends.
func (d *Daily) Run(ctx context.Context) {
	now := make(chan struct{}, 1)
	defer d.Bus.Subscribe(Topic, func([]byte) {
		select {
		case now <- struct{}{}:
		default: // it is about to
		}
	})()
	flush, send := time.NewTicker(flushEvery), time.NewTicker(sendEvery)
	defer flush.Stop()
	defer send.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			err = d.Tally.Flush(last)
			cancel()
		case <-flush.C:
			err = d.Tally.Flush(ctx)
		case <-now:
			_, err = d.SendNow(ctx)
		case <-send.C:
			_, err = d.Send(ctx, dayOf(time.Now()))
		}
		if err != nil {
			d.Log.Warn("reports to other sites", "err", err)
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// Send sends what is due of the days before a day, since 1970 in UTC, and tells
// how many reports. What a destination does not want is dropped.
func (d *Daily) Send(ctx context.Context, before int64) (sent int, err error) {
	for {
		c, err := d.claim(ctx, before)
		if err != nil || c == nil {
			return sent, err
		}
		n, err := d.report(ctx, c)
		if sent += n; err == nil || before-c.day > keepDays {
			err = errors.Join(err, d.done(ctx, c.id))
		}
		if err != nil {
			d.Log.Warn("report about "+c.domain, "err", err)
		}
	}
}

// SendNow sends what was counted so far, of today too.
func (d *Daily) SendNow(ctx context.Context) (int, error) {
	if err := d.Tally.Flush(ctx); err != nil {
		return 0, err
	}
	return d.Send(ctx, dayOf(time.Now())+1)
}

// claimed is a policy of a day that this node reports on.
type claimed struct {
	id, day int64
	domain  string
	published
}

func (d *Daily) claim(ctx context.Context, before int64) (*claimed, error) {
	now := time.Now()
	var c claimed
	var policy string
	err := d.DB.Write(ctx, func(tx *db.Tx) error {
		err := tx.Row(`SELECT id, day, domain, policy FROM dmarc_policy WHERE day < ? AND claimed < ? ORDER BY id LIMIT 1`,
			before, now.Add(-claimTime).UnixMilli()).Scan(&c.id, &c.day, &c.domain, &policy)
		if err != nil {
			return err
		}
		_, err = tx.Exec(`UPDATE dmarc_policy SET claimed = ? WHERE id = ?`, now.UnixMilli(), c.id)
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("claim a report: %w", err)
	}
	return &c, json.Unmarshal([]byte(policy), &c.published)
}

func (d *Daily) done(ctx context.Context, id int64) error {
	return d.DB.Write(ctx, func(tx *db.Tx) error {
		_, err := tx.Exec(`DELETE FROM dmarc_policy WHERE id = ?`, id)
		return err
	})
}

// report sends one report to all who may have it.
func (d *Daily) report(ctx context.Context, c *claimed) (sent int, err error) {
	var to []mail.Address
	for _, a := range aggregate.Destinations(c.RUA) {
		agreed, err := aggregate.Agreed(ctx, d.Resolver, c.domain, a)
		if err != nil {
			return 0, fmt.Errorf("asking %s: %w", a.Domain, err)
		}
		to = append(to, agreed...)
	}
	if len(to) == 0 {
		return 0, nil
	}
	r, err := d.compose(ctx, c)
	if err != nil {
		return 0, err
	}
	var file bytes.Buffer
	z := gzip.NewWriter(&file)
	if err := errors.Join(r.Write(z), z.Close()); err != nil {
		return 0, err
	}
	for _, a := range to {
		words := fmt.Sprintf("This is a DMARC aggregate report about mail that shows %s as its author's domain,\r\nas %s has seen it on %s (UTC).\r\n",
			c.domain, d.Organisation, r.Metadata.Begin.Time().UTC().Format(time.DateOnly))
		err := d.Post.Send(ctx, a, r.Subject(string(d.Address.Domain)), "mixed", text(words),
			attachment("application/gzip", r.Filename(string(d.Address.Domain)), file.Bytes()))
		if err != nil {
			return sent, err
		}
		sent++
	}
	return sent, nil
}

// compose reads what was counted.
func (d *Daily) compose(ctx context.Context, c *claimed) (*aggregate.Report, error) {
	r := &aggregate.Report{Version: "1.0", Policy: c.Policy, Metadata: aggregate.Metadata{OrgName: d.Organisation, Email: d.Address.Wire,
		ReportID: fmt.Sprintf("%d.%d.%s", c.day, c.id, d.Address.Domain), Begin: aggregate.Seconds(c.day * 86400), End: aggregate.Seconds(c.day*86400 + 86399),
		Generator: "migiwa"}}
	return r, d.DB.Read(ctx, func(tx *db.Tx) error {
		r.Records, r.Metadata.Errors = nil, nil
		return tx.Each(`SELECT alike, count FROM dmarc_row WHERE policy = ? ORDER BY count DESC`, []any{c.id}, func(scan func(...any) error) error {
			var alike string
			var n int64
			if err := scan(&alike, &n); err != nil {
				return err
			}
			if alike == "" || len(r.Records) == aggregate.MaxRecords {
				r.Metadata.Errors = append(r.Metadata.Errors, fmt.Sprintf("%d messages more, of too many kinds", n))
				return nil
			}
			var rec aggregate.Record
			err := json.Unmarshal([]byte(alike), &rec)
			rec.Count = aggregate.Number(n)
			r.Records = append(r.Records, rec)
			return err
		})
	})
}
