package main

import (
	"context"
	"fmt"

	"github.com/migiwa/migiwa/internal/admin"
	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/node"
	"github.com/migiwa/migiwa/internal/senderauth"
)

// aliasCmd looks after aliases.
type aliasCmd struct {
	Add    aliasAddCmd    `cmd:"" help:"Make an address stand for others."`
	List   aliasListCmd   `cmd:"" help:"List aliases."`
	Delete aliasDeleteCmd `cmd:"" help:"Delete an alias."`
}

type aliasAddCmd struct {
	Address string   `arg:"" help:"The alias."`
	Targets []string `arg:"" help:"Whom it stands for."`
}

func (a *aliasAddCmd) Run(ctx context.Context, c *cli, out *output) error {
	rooms, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer rooms.Close()
	if err := rooms.Admin.AddAlias(ctx, actor, a.Address, a.Targets); err != nil {
		return err
	}
	return out.done(a.Address, "added")
}

type aliasListCmd struct {
	Domain string `help:"Only aliases of this domain." placeholder:"DOMAIN"`
}

func (a *aliasListCmd) Run(ctx context.Context, c *cli, out *output) error {
	rooms, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer rooms.Close()
	if out.json {
		return rooms.Admin.Aliases(ctx, a.Domain, func(al directory.Alias) error {
			return out.object(map[string]string{"address": al.Address.Wire, "targets": directory.FormatList(al.Targets)})
		})
	}
	t := out.table("ADDRESS", "STANDS FOR")
	err = rooms.Admin.Aliases(ctx, a.Domain, func(al directory.Alias) error {
		t.row(al.Address.Wire, directory.FormatList(al.Targets))
		return nil
	})
	if err != nil {
		return err
	}
	return t.end()
}

type aliasDeleteCmd struct {
	Address string `arg:"" help:"The alias."`
}

func (a *aliasDeleteCmd) Run(ctx context.Context, c *cli, out *output) error {
	return onAccount(ctx, c, out, a.Address, "deleted", (*admin.Admin).DeleteAlias)
}

// domainCmd looks after domains.
type domainCmd struct {
	Add    domainAddCmd    `cmd:"" help:"Make a domain ours, with role addresses and DKIM keys."`
	List   domainListCmd   `cmd:"" help:"List domains."`
	Show   domainShowCmd   `cmd:"" help:"Show a domain and its settings."`
	Set    domainSetCmd    `cmd:"" help:"Change settings of a domain; without any, list those there are."`
	Delete domainDeleteCmd `cmd:"" help:"Delete a domain without accounts."`
	DNS    domainDNSCmd    `cmd:"" name:"dns" help:"Print the DNS records to publish."`
	DKIM   domainDKIMCmd   `cmd:"" name:"dkim" help:"DKIM keys: list, add, activate, retire, delete."`

	BounceKey bounceKeyCmd `cmd:"" name:"bounce-key" help:"Make the next key of signed envelope senders, for all domains. It signs after a minute; tags made before stay good."`
}

type domainAddCmd struct {
	Name string `arg:"" help:"The domain."`
}

func (d *domainAddCmd) Run(ctx context.Context, c *cli, out *output) error {
	rooms, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer rooms.Close()
	dom, err := rooms.Admin.CreateDomain(ctx, actor, d.Name)
	if err != nil {
		return err
	}
	return out.done(string(dom.Name), "added")
}

type domainListCmd struct{}

func (d *domainListCmd) Run(ctx context.Context, c *cli, out *output) error {
	rooms, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer rooms.Close()
	list, err := rooms.Admin.Domains(ctx)
	if err != nil {
		return err
	}
	t := out.table("DOMAIN", "FOR PEOPLE")
	for _, dom := range list {
		if out.json {
			if err := out.object(domainRow(dom)); err != nil {
				return err
			}
			continue
		}
		t.row(string(dom.Name), dom.Name.Unicode())
	}
	if out.json {
		return nil
	}
	return t.end()
}

func domainRow(dom directory.Domain) map[string]any {
	settings := map[string]string{}
	for _, s := range admin.DomainSettings {
		if v, ok := s.Value(dom.Settings); ok {
			settings[s.Name] = v
		}
	}
	return map[string]any{"domain": dom.Name, "settings": settings}
}

type domainShowCmd struct {
	Name string `arg:"" help:"The domain."`
}

func (d *domainShowCmd) Run(ctx context.Context, c *cli, out *output) error {
	rooms, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer rooms.Close()
	dom, err := rooms.Admin.Domain(ctx, d.Name)
	if err != nil {
		return err
	}
	if out.json {
		return out.object(domainRow(dom))
	}
	t := out.table("domain", string(dom.Name))
	printSettings(t, admin.DomainSettings, dom.Settings)
	return t.end()
}

type domainSetCmd struct {
	Name     string   `arg:"" optional:"" help:"The domain."`
	Settings []string `arg:"" optional:"" name:"key=value" help:"Settings."`
}

func (d *domainSetCmd) Run(ctx context.Context, c *cli, out *output) error {
	if len(d.Settings) == 0 {
		return describe(out, admin.DomainSettings)
	}
	rooms, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer rooms.Close()
	if err := rooms.Admin.SetDomain(ctx, actor, d.Name, d.Settings); err != nil {
		return err
	}
	return out.done(d.Name, "changed")
}

type domainDeleteCmd struct {
	Name string `arg:"" help:"The domain."`
}

func (d *domainDeleteCmd) Run(ctx context.Context, c *cli, out *output) error {
	return onAccount(ctx, c, out, d.Name, "deleted", (*admin.Admin).DeleteDomain)
}

type domainDNSCmd struct {
	Name string `arg:"" help:"The domain."`
}

func (d *domainDNSCmd) Run(ctx context.Context, c *cli, out *output) error {
	rooms, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer rooms.Close()
	records, err := rooms.Admin.Records(ctx, d.Name, rooms.Config.Hostname, node.Ports(rooms.Config))
	if err != nil {
		return err
	}
	if out.json {
		for _, r := range records {
			if err := out.object(r); err != nil {
				return err
			}
		}
		return nil
	}
	return printRecords(out, records)
}

type bounceKeyCmd struct{}

func (b *bounceKeyCmd) Run(ctx context.Context, c *cli, out *output) error {
	rooms, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer rooms.Close()
	digit, err := rooms.Admin.RotateBounceKey(ctx, actor)
	if err != nil {
		return err
	}
	return out.done(fmt.Sprintf("bounce key %d", digit), "added")
}

// domainDKIMCmd looks after a domain's signing keys.
type domainDKIMCmd struct {
	List     dkimListCmd     `cmd:"" help:"List the keys."`
	Add      dkimAddCmd      `cmd:"" help:"Make a key that does not sign yet: publish its record, then activate it."`
	Activate dkimActivateCmd `cmd:"" help:"Let a key sign."`
	Retire   dkimRetireCmd   `cmd:"" help:"Let a key sign no more. Leave its record for some weeks."`
	Delete   dkimDeleteCmd   `cmd:"" help:"Delete a key."`
}

type dkimListCmd struct {
	Domain string `arg:"" help:"The domain."`
}

func (d *dkimListCmd) Run(ctx context.Context, c *cli, out *output) error {
	rooms, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer rooms.Close()
	keys, err := rooms.Admin.DKIMKeys(ctx, d.Domain)
	if err != nil {
		return err
	}
	t := out.table("SELECTOR", "ALGORITHM", "SIGNS", "MADE")
	for _, k := range keys {
		made := k.Created.UTC().Format("2006-01-02")
		if out.json {
			if err := out.object(map[string]any{"selector": k.Selector, "algorithm": k.Algorithm, "active": k.Active, "created": made}); err != nil {
				return err
			}
			continue
		}
		t.row(k.Selector, k.Algorithm, yesNo(k.Active), made)
	}
	if out.json {
		return nil
	}
	return t.end()
}

type dkimAddCmd struct {
	Domain    string `arg:"" help:"The domain."`
	Algorithm string `help:"rsa or ed25519." enum:"rsa,ed25519" default:"rsa"`
}

func (d *dkimAddCmd) Run(ctx context.Context, c *cli, out *output) error {
	rooms, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer rooms.Close()
	selector, err := rooms.Admin.AddDKIMKey(ctx, actor, d.Domain, senderauth.Algorithm(d.Algorithm))
	if err != nil {
		return err
	}
	return out.done(selector, "added")
}

// dkimKey names one key.
type dkimKey struct {
	Domain   string `arg:"" help:"The domain."`
	Selector string `arg:"" help:"The key's selector."`
}

func (k dkimKey) change(ctx context.Context, c *cli, out *output, did string, action func(a *admin.Admin) error) error {
	rooms, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer rooms.Close()
	if err := action(rooms.Admin); err != nil {
		return err
	}
	return out.done(k.Selector, did)
}

type dkimActivateCmd struct {
	dkimKey `embed:""`
}

func (d *dkimActivateCmd) Run(ctx context.Context, c *cli, out *output) error {
	return d.change(ctx, c, out, "signs", func(a *admin.Admin) error {
		return a.ActivateDKIMKey(ctx, actor, d.Domain, d.Selector, true)
	})
}

type dkimRetireCmd struct {
	dkimKey `embed:""`
}

func (d *dkimRetireCmd) Run(ctx context.Context, c *cli, out *output) error {
	return d.change(ctx, c, out, "signs no more", func(a *admin.Admin) error {
		return a.ActivateDKIMKey(ctx, actor, d.Domain, d.Selector, false)
	})
}

type dkimDeleteCmd struct {
	dkimKey `embed:""`
}

func (d *dkimDeleteCmd) Run(ctx context.Context, c *cli, out *output) error {
	return d.change(ctx, c, out, "deleted", func(a *admin.Admin) error {
		return a.DeleteDKIMKey(ctx, actor, d.Domain, d.Selector)
	})
}
