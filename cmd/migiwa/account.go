package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/admin"
	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/mail"
)

// actor is who acts in the events of a command.
var actor = commandActor()

func commandActor() string {
	if u, err := user.Current(); err == nil {
		return "command line, " + u.Username
	}
	return "command line"
}

// accountCmd looks after accounts.
type accountCmd struct {
	Add     accountAddCmd     `cmd:"" help:"Add an account."`
	Import  accountImportCmd  `cmd:"" help:"Add and change accounts by a CSV file: address,name,password,quota_mb,forward_to,state."`
	Export  accountExportCmd  `cmd:"" help:"Print accounts as the CSV that import reads. It holds password hashes."`
	List    accountListCmd    `cmd:"" help:"List accounts."`
	Show    accountShowCmd    `cmd:"" help:"Show an account and its settings."`
	Set     accountSetCmd     `cmd:"" help:"Change settings of an account; without any, list those there are."`
	Disable accountDisableCmd `cmd:"" help:"Let an account neither log in nor take mail. What it has stays."`
	Enable  accountEnableCmd  `cmd:"" help:"Undo disable."`
	Release accountReleaseCmd `cmd:"" help:"End the hold of an account's sending, send what waits, and vouch for the account for a day."`
	Delete  accountDeleteCmd  `cmd:"" help:"Delete an account and all its mail."`
}

type accountAddCmd struct {
	Address       string   `arg:"" help:"Address of the account."`
	Settings      []string `arg:"" optional:"" name:"key=value" help:"Settings; account set lists them."`
	PasswordStdin bool     `help:"Read the password, or its hash, from the first line of standard input; without it nobody can log in yet."`
}

func (a *accountAddCmd) Run(ctx context.Context, c *cli, out *output) error {
	password := ""
	if a.PasswordStdin {
		if isTerminal(os.Stdin) {
			fmt.Fprint(os.Stderr, "Password: ")
		}
		line, err := bufio.NewReader(os.Stdin).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read password: %w", err)
		}
		if password = strings.TrimRight(line, "\r\n"); password == "" {
			return misuseError("--password-stdin: no password on standard input")
		}
	}
	rooms, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer rooms.Close()
	acct, err := rooms.Admin.AddAccount(ctx, actor, a.Address, password, a.Settings)
	if err != nil {
		return err
	}
	did := "added"
	if !acct.HasPassword() {
		did = "added without a password: nobody can log in yet"
	}
	return out.done(acct.Address.Wire, did)
}

func isTerminal(f *os.File) bool {
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}

// done tells that something was done to something.
func (o *output) done(what, did string) error {
	if o.json {
		return o.object(map[string]string{"object": what, "done": did})
	}
	_, err := fmt.Fprintf(o.w, "%s %s\n", what, did)
	return err
}

type accountImportCmd struct {
	File   string `arg:"" help:"CSV file; - for standard input."`
	DryRun bool   `help:"Check everything, change nothing."`
}

func (a *accountImportCmd) Run(ctx context.Context, c *cli, out *output) error {
	in := io.Reader(os.Stdin)
	if a.File != "-" {
		f, err := os.Open(a.File)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	rooms, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer rooms.Close()
	im := directory.Import{DryRun: a.DryRun}
	if !out.json {
		im.Progress = func(done, total int) {
			if done%100 == 0 || done == total {
				fmt.Fprintf(os.Stderr, "\r%d of %d passwords hashed", done, total)
			}
			if done == total {
				fmt.Fprintln(os.Stderr)
			}
		}
	}
	n, err := rooms.Admin.ImportAccounts(ctx, actor, in, im)
	if err != nil {
		return err
	}
	if out.json {
		return out.object(map[string]any{"added": n.Added, "changed": n.Changed, "same": n.Same, "dry_run": a.DryRun})
	}
	would := ""
	if a.DryRun {
		would = "would be "
	}
	_, err = fmt.Fprintf(out.w, "%d accounts %sadded, %d changed, %d as they were\n", n.Added, would, n.Changed, n.Same)
	return err
}

type accountExportCmd struct {
	Domain string `help:"Only accounts of this domain." placeholder:"DOMAIN"`
}

func (a *accountExportCmd) Run(ctx context.Context, c *cli, out *output) error {
	rooms, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer rooms.Close()
	return rooms.Admin.ExportAccounts(ctx, actor, out.w, a.Domain)
}

type accountListCmd struct {
	Domain string `help:"Only accounts of this domain." placeholder:"DOMAIN"`
}

// accountRow is an account as commands print it.
type accountRow struct {
	Address  string            `json:"address"`
	Used     int64             `json:"used"`
	Messages int64             `json:"messages"`
	Login    bool              `json:"login"`          // has a password
	Hold     *holdRow          `json:"hold,omitempty"` // of its sending
	Vouched  *time.Time        `json:"vouched_until,omitempty"`
	Settings map[string]string `json:"settings"`
}

// holdRow is the hold of an account's sending.
type holdRow struct {
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"`
	Reason string    `json:"reason"`
}

// sending says in a few words whether the account may send.
func (r accountRow) sending() string {
	switch {
	case r.Hold != nil:
		return "held until " + r.Hold.Until.Local().Format(time.DateTime)
	case r.Vouched != nil:
		return "vouched for until " + r.Vouched.Local().Format(time.DateTime)
	}
	return "as usual"
}

func newAccountRow(a directory.Account) accountRow {
	r := accountRow{Address: a.Address.Wire, Used: a.Used, Messages: a.Messages, Login: a.HasPassword(), Settings: map[string]string{}}
	now := time.Now()
	if h := a.Hold; h.Active(now) {
		r.Hold = &holdRow{h.Since.UTC(), h.Until.UTC(), h.Reason}
	}
	if v := a.Hold.Vouched.UTC(); v.After(now) {
		r.Vouched = &v
	}
	for _, s := range admin.AccountSettings {
		if v, ok := s.Value(a); ok {
			r.Settings[s.Name] = v
		}
	}
	return r
}

func (a *accountListCmd) Run(ctx context.Context, c *cli, out *output) error {
	var domain mail.Domain
	if a.Domain != "" {
		d, err := mail.ParseDomain(a.Domain)
		if err != nil {
			return misuseError("--domain: " + err.Error())
		}
		domain = d
	}
	rooms, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer rooms.Close()
	if out.json {
		return rooms.Directory.EachAccount(ctx, domain, func(a directory.Account) error { return out.object(newAccountRow(a)) })
	}
	t := out.table("ADDRESS", "NAME", "STATE", "ADMIN", "QUOTA", "USED", "MESSAGES", "SENDING", "FORWARD TO")
	err = rooms.Directory.EachAccount(ctx, domain, func(a directory.Account) error {
		r := newAccountRow(a)
		t.row(r.Address, r.Settings["name"], r.Settings["state"], r.Settings["admin"], r.Settings["quota"],
			strconv.FormatInt(r.Used, 10), strconv.FormatInt(r.Messages, 10), r.sending(), r.Settings["forward_to"])
		return nil
	})
	if err != nil {
		return err
	}
	return t.end()
}

type accountShowCmd struct {
	Address string `arg:"" help:"Address of the account."`
}

func (a *accountShowCmd) Run(ctx context.Context, c *cli, out *output) error {
	rooms, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer rooms.Close()
	acct, err := rooms.Admin.Account(ctx, a.Address)
	if err != nil {
		return err
	}
	if out.json {
		return out.object(newAccountRow(acct))
	}
	t := out.table("address", acct.Address.Wire)
	t.row("used", strconv.FormatInt(acct.Used, 10))
	t.row("messages", strconv.FormatInt(acct.Messages, 10))
	t.row("password", yesNo(acct.HasPassword()))
	r := newAccountRow(acct)
	t.row("sending", r.sending())
	if r.Hold != nil {
		t.row("held since", r.Hold.Since.Local().Format(time.DateTime))
		t.row("held because of", r.Hold.Reason)
	}
	printSettings(t, admin.AccountSettings, acct)
	return t.end()
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func printSettings[T any](t *table, settings []admin.Setting[T], of T) {
	for _, s := range settings {
		if v, ok := s.Value(of); ok {
			t.row(s.Name, v)
		}
	}
}

// describe lists settings and their meaning.
func describe[T any](out *output, settings []admin.Setting[T]) error {
	t := out.table("KEY", "VALUE", "MEANING")
	for _, s := range settings {
		t.row(s.Name, s.Type, s.Doc)
	}
	return t.end()
}

type accountSetCmd struct {
	Address  string   `arg:"" optional:"" help:"Address of the account."`
	Settings []string `arg:"" optional:"" name:"key=value" help:"Settings."`
}

func (a *accountSetCmd) Run(ctx context.Context, c *cli, out *output) error {
	if len(a.Settings) == 0 {
		return describe(out, admin.AccountSettings)
	}
	rooms, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer rooms.Close()
	if err := rooms.Admin.SetAccount(ctx, actor, a.Address, a.Settings); err != nil {
		return err
	}
	return out.done(a.Address, "changed")
}

type accountDisableCmd struct {
	Address string `arg:"" help:"Address of the account."`
}

func (a *accountDisableCmd) Run(ctx context.Context, c *cli, out *output) error {
	return onAccount(ctx, c, out, a.Address, "disabled", (*admin.Admin).DisableAccount)
}

type accountEnableCmd struct {
	Address string `arg:"" help:"Address of the account."`
}

func (a *accountEnableCmd) Run(ctx context.Context, c *cli, out *output) error {
	return onAccount(ctx, c, out, a.Address, "enabled", (*admin.Admin).EnableAccount)
}

type accountReleaseCmd struct {
	Address string `arg:"" help:"Address of the account."`
}

func (a *accountReleaseCmd) Run(ctx context.Context, c *cli, out *output) error {
	return onAccount(ctx, c, out, a.Address, "released", (*admin.Admin).ReleaseAccount)
}

type accountDeleteCmd struct {
	Address string `arg:"" help:"Address of the account."`
}

func (a *accountDeleteCmd) Run(ctx context.Context, c *cli, out *output) error {
	return onAccount(ctx, c, out, a.Address, "deleted", (*admin.Admin).DeleteAccount)
}

func onAccount(ctx context.Context, c *cli, out *output, address, did string,
	action func(a *admin.Admin, ctx context.Context, actor, address string) error) error {
	rooms, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer rooms.Close()
	if err := action(rooms.Admin, ctx, actor, address); err != nil {
		return err
	}
	return out.done(address, did)
}
