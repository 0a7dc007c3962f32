package imapd

import (
	"context"
	"iter"
	"slices"
	"strings"

	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// entry is a name as LIST sees it.
type entry struct {
	name       string         // as the client writes it
	folder     mailbox.Folder // its ID is 0 when there is none of this name
	rights     mailbox.Rights
	subscribed bool
	shared     bool // by somebody else
	children   bool // there is a mailbox below

	// What one LIST makes of it.
	matched bool // a pattern fits
	chosen  bool // what is selected holds
	below   bool // something below is chosen
	leads   bool // something below is chosen, and no pattern fits it
}

// use gives the special use, for the owner alone: it is about what the
// owner's programs do.
func (e *entry) use() string {
	if e.shared {
		return ""
	}
	return e.folder.Role
}

// catalogue is all names that the user may know of: mailboxes, levels above
// them that are none, and subscriptions.
type catalogue map[string]*entry

// catalogue reads it, subscriptions where they are asked for.
func (c *conn) catalogue(ctx context.Context, subscriptions bool) (catalogue, error) {
	own, err := c.srv.Mailboxes.Folders(ctx, c.account)
	if err != nil {
		return nil, err
	}
	all := make(catalogue, len(own))
	for _, f := range own {
		all.add(&entry{name: f.Name, folder: f, rights: mailbox.AllRights})
	}
	if err := c.addShared(ctx, all); err != nil {
		return nil, err
	}
	if subscriptions {
		names, err := c.srv.Mailboxes.Subscriptions(ctx, c.account)
		if err != nil {
			return nil, err
		}
		for _, n := range names {
			all.at(n).subscribed = true
		}
	}
	return all, nil
}

// addShared adds what others let the user look up.
func (c *conn) addShared(ctx context.Context, all catalogue) error {
	if c.srv.Owner == nil {
		return nil
	}
	given, err := c.srv.Mailboxes.SharedWith(ctx, c.account)
	if err != nil {
		return err
	}
	owners := map[int64]string{}
	for _, g := range given {
		owner, known := owners[g.Account]
		if !known {
			if owner, err = c.srv.Address(ctx, g.Account); err != nil {
				return err
			}
			owners[g.Account] = owner
		}
		if owner != "" {
			name := spot{account: g.Account, owner: owner, name: g.Name}.shown()
			all.add(&entry{name: name, folder: g.Folder, rights: g.Rights, shared: true})
		}
	}
	return nil
}

// at gives the entry of a name, and makes it and those above it.
func (all catalogue) at(name string) *entry {
	if e := all[name]; e != nil {
		return e
	}
	e := &entry{name: name}
	all[name] = e
	if up := parent(name); up != "" {
		all.at(up)
	}
	return e
}

// add puts a mailbox in.
func (all catalogue) add(e *entry) {
	had := all.at(e.name)
	children := had.children
	*had = *e
	had.children = children
	for up := range all.above(e.name) {
		if up.children {
			break // and so have all above it
		}
		up.children = true
	}
}

// above gives the entries above a name, the nearest first.
func (all catalogue) above(name string) iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		for up := parent(name); up != ""; up = parent(up) {
			if !yield(all[up]) {
				return
			}
		}
	}
}

// choose fills in what l makes of each entry. One that is not chosen is given
// only when it leads to something that would not be seen otherwise: so it is
// with levels that are no mailboxes, with RECURSIVEMATCH (RFC 5258 section 5,
// example 9) and with "%" in LSUB (RFC 3501 section 6.3.9).
//
// It can take seconds when all is as bad as can be, and ends early when the
// client is gone.
func (all catalogue) choose(ctx context.Context, l *listing, ps patterns) error {
	for _, e := range all {
		if err := ctx.Err(); err != nil {
			return err
		}
		e.matched = ps.match(e.name)
		e.chosen = (e.folder.ID != 0 || l.subscribed) && (!l.subscribed || e.subscribed) && (!l.specialUse || e.use() != "")
	}
	for _, e := range all {
		if !e.chosen {
			continue
		}
		for up := range all.above(e.name) {
			up.below = true
			up.leads = up.leads || !e.matched
		}
	}
	return nil
}

// sorted gives the entries by name.
func (all catalogue) sorted() []*entry {
	out := make([]*entry, 0, len(all))
	for _, e := range all {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b *entry) int { return strings.Compare(a.name, b.name) })
	return out
}

// tellListed writes LIST of one name with the name it had.
func (c *conn) tellListed(ctx context.Context, at spot, old string) error {
	all, err := c.catalogue(ctx, false)
	if err != nil {
		return err
	}
	e := all[at.shown()]
	if e == nil {
		return nil
	}
	return c.respond(func(w *wire.Encoder) error {
		w.Raw("* LIST ")
		w.List((&listing{extended: true}).attributes(e, true))
		w.Raw(` "/" `)
		w.Mailbox(e.name)
		w.Raw(` ("OLDNAME" (`)
		w.Mailbox(old)
		w.Raw("))")
		return nil
	})
}
