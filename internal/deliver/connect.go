package deliver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"

	"github.com/migiwa/migiwa/internal/deliver/smtpc"
	"github.com/migiwa/migiwa/internal/mail"
)

// session is an open connection to a next hop.
type session struct {
	*smtpc.Client
	hop hop
	tls string // version, cipher and whether verified, or why there is none
}

// connect opens a connection for mail of domain, trying one address after the
// other. The error is a *mail.Reply; at tells the host it is of.
func (r *Runner) connect(ctx context.Context, domain mail.Domain, route *Route) (s *session, at hop, err error) {
	hops, err := r.hops(ctx, domain, route)
	if err != nil {
		return nil, hop{}, err
	}
	for _, h := range hops {
		if s, err = r.try(ctx, h, route); err == nil {
			r.Metrics.connected("ok")
			return s, h, nil
		}
		r.Metrics.connected("failed")
		at = h
		if ctx.Err() != nil {
			break
		}
	}
	return nil, at, smtpc.AsReply(err)
}

// try opens a connection to one address. With opportunistic TLS a failed
// handshake is followed by one more connection without.
func (r *Runner) try(ctx context.Context, h hop, route *Route) (*session, error) {
	security, verify := Opportunistic, false
	if route != nil {
		security, verify = route.TLS, route.Verify
	}
	s, err := r.open(ctx, h, route, security, verify)
	if err != nil && security == Opportunistic && errors.Is(err, smtpc.ErrTLS) && ctx.Err() == nil {
		why := err
		if s, err = r.open(ctx, h, route, Plain, false); err == nil {
			s.tls = "none: " + why.Error()
		}
	}
	return s, err
}

func (r *Runner) open(ctx context.Context, h hop, route *Route, security Security, verify bool) (*session, error) {
	d := net.Dialer{Timeout: r.timeouts().Connect}
	conn, err := d.DialContext(ctx, h.network, h.address)
	if err != nil {
		return nil, mail.Reply{Code: 451, Enhanced: "4.4.1", Text: "Cannot connect to " + h.address + ": " + cause(err)}.Because(err)
	}
	s := &session{Client: smtpc.New(conn, r.Hostname, route != nil && route.LMTP, r.timeouts()), hop: h}
	if err := s.begin(ctx, route, security, tlsConfig(h.host, verify)); err != nil {
		s.Quit()
		return nil, soften(err)
	}
	return s, nil
}

// soften makes a refusal of the whole connection temporary: it is of our
// address or of this host, not of a recipient, and the next host or hour may
// be another's. Only 521 says that no mail is taken here at all (RFC 7504).
func soften(err error) error {
	var r *mail.Reply
	if errors.As(err, &r) && !r.Temporary() && r.Code != 521 && !errors.Is(err, smtpc.ErrTLS) {
		return mail.Reply{Code: 451, Enhanced: "4.3.2", Text: fmt.Sprintf("The server takes no mail from us now: %d %s %s", r.Code, r.Enhanced, r.Text)}.Because(r)
	}
	return err
}

// cause says why a connection failed, without the addresses it was between.
func cause(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err.Error()
	}
	return err.Error()
}

func (s *session) begin(ctx context.Context, route *Route, security Security, config *tls.Config) error {
	if security == Implicit {
		if err := s.Handshake(ctx, config); err != nil {
			return err
		}
	}
	if err := s.Start(ctx); err != nil {
		return err
	}
	switch {
	case security == Plain:
		s.tls = "none: not wanted"
	case security == Implicit:
	case s.Ext.StartTLS:
		if err := s.StartTLS(ctx, config); err != nil {
			return err
		}
	case security == Required:
		return fmt.Errorf("%w: the server does not offer STARTTLS", smtpc.ErrTLS)
	default:
		s.tls = "none: not offered"
	}
	if state := s.TLS(); state != nil {
		s.tls = describe(state, config.ServerName)
	}
	if route != nil && route.User != "" {
		return s.login(ctx, route)
	}
	return nil
}

// login makes every refusal temporary: wrong credentials are a fault here that
// the operator mends, not one of the recipient.
func (s *session) login(ctx context.Context, route *Route) error {
	err := s.Auth(ctx, route.User, route.Password)
	var r *mail.Reply
	if errors.As(err, &r) {
		return mail.Reply{Code: 454, Enhanced: "4.7.8", Text: "Login failed: " + r.Text}.Because(r)
	}
	return err
}

func tlsConfig(host string, verify bool) *tls.Config {
	c := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if !verify {
		// Opportunistic security (RFC 7435): any TLS is better than none.
		c.InsecureSkipVerify, c.MinVersion = true, tls.VersionTLS10
	}
	return c
}

// describe tells version, cipher and whether the certificate would be valid.
func describe(s *tls.ConnectionState, host string) string {
	trust := "verified"
	if len(s.VerifiedChains) == 0 {
		opts := x509.VerifyOptions{DNSName: host, Intermediates: x509.NewCertPool()}
		for _, c := range s.PeerCertificates[1:] {
			opts.Intermediates.AddCert(c)
		}
		if _, err := s.PeerCertificates[0].Verify(opts); err != nil {
			trust = "unverified: " + err.Error()
		}
	}
	return tls.VersionName(s.Version) + " " + tls.CipherSuiteName(s.CipherSuite) + " " + trust
}
