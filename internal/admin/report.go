package admin

import (
	"context"
	"fmt"
	"time"

	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/report"
)

// Reports gives what other sites have reported on mail of a domain, or of all
// for "", in the last days.
func (a *Admin) Reports(ctx context.Context, domain string, days int) ([]report.Received, error) {
	if domain != "" {
		name, err := mail.ParseDomain(domain)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", directory.ErrInvalid, err)
		}
		domain = string(name)
	}
	return report.List(ctx, a.DB, domain, time.Now().AddDate(0, 0, -days))
}

// ReportedSources gives the hosts that other sites have seen send mail of a
// domain in the last days.
func (a *Admin) ReportedSources(ctx context.Context, domain string, days int) ([]report.Source, error) {
	name, err := mail.ParseDomain(domain)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", directory.ErrInvalid, err)
	}
	return report.Sources(ctx, a.DB, string(name), time.Now().AddDate(0, 0, -days))
}

// SendReports has the serving process send what it has counted so far.
func (a *Admin) SendReports() { a.Directory.Bus.Publish(report.Topic, nil) }
