package smtpc

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"

	"github.com/emersion/go-sasl"
	"github.com/xdg-go/scram"

	"github.com/migiwa/migiwa/internal/mail"
)

// Auth logs in (RFC 4954) by the strongest mechanism that the peer offers of
// SCRAM-SHA-256, PLAIN and LOGIN. The last two show the password to the peer:
// the caller decides whether the connection is fit for that.
func (c *Client) Auth(ctx context.Context, user, password string) error {
	stop := c.watch(ctx)
	defer stop()
	mech, err := c.mechanism(user, password)
	if err != nil {
		return err
	}
	name, first, err := mech.Start()
	if err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	line := "AUTH " + name
	if first != nil {
		line += " " + initial(first)
	}
	r, err := c.command(c.times.Command, "%s", line)
	for err == nil && r.Code == 334 {
		var answer []byte
		challenge, bad := base64.StdEncoding.DecodeString(r.Text())
		if bad == nil {
			answer, bad = mech.Next(challenge)
		}
		if bad != nil {
			c.command(c.times.Command, "*")
			return &mail.Reply{Code: 454, Enhanced: "4.7.0", Text: "The server's part of the login is wrong", Cause: bad}
		}
		r, err = c.command(c.times.Command, "%s", base64.StdEncoding.EncodeToString(answer))
	}
	if err != nil {
		return c.broke("AUTH", err)
	}
	if r.Code != 235 {
		return r.Error()
	}
	return nil
}

func initial(b []byte) string {
	if len(b) == 0 {
		return "="
	}
	return base64.StdEncoding.EncodeToString(b)
}

func (c *Client) mechanism(user, password string) (sasl.Client, error) {
	switch {
	case slices.Contains(c.Ext.Auth, "SCRAM-SHA-256"):
		cl, err := scram.SHA256.NewClient(user, password, "")
		if err != nil {
			return nil, fmt.Errorf("log in: %w", err)
		}
		return &scramClient{conv: cl.NewConversation()}, nil
	case slices.Contains(c.Ext.Auth, sasl.Plain):
		return sasl.NewPlainClient("", user, password), nil
	case slices.Contains(c.Ext.Auth, sasl.Login):
		return sasl.NewLoginClient(user, password), nil
	}
	return nil, &mail.Reply{Code: 454, Enhanced: "4.7.4", Text: "The server offers no login mechanism that we know"}
}

// scramClient adapts scram to sasl.Client.
type scramClient struct{ conv *scram.ClientConversation }

func (s *scramClient) Start() (string, []byte, error) {
	first, err := s.conv.Step("")
	return "SCRAM-SHA-256", []byte(first), err
}

func (s *scramClient) Next(challenge []byte) ([]byte, error) {
	answer, err := s.conv.Step(string(challenge))
	return []byte(answer), err
}
