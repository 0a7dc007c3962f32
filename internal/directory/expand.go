package directory

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/store/db"
)

const (
	maxDepth  = 10   // aliases and forwards one behind the other
	maxVisits = 1000 // addresses looked at for one recipient
)

// looping is the status of an address while it is being expanded.
const looping Status = -1

// expansion follows one address to its ends.
type expansion struct {
	d        *Directory
	tx       *db.Tx
	seen     map[string]visit // by Key
	domains  map[mail.Domain]*Domain
	boxes    map[int64]bool  // mailboxes in targets
	forwards map[string]bool // Keys of forwards in targets
	targets  []Target
	owners   []int64
	keys     *prvsKeys // of signed senders; nil: not needed
}

// visit is what is known of an address that was met.
type visit struct {
	status  Status
	account int64 // whose it is; 0: no account's
}

// step is one address on the way.
type step struct {
	mail.Address
	key       string
	detail    string
	depth     int
	forwarded bool // behind an account's forward_to
	domain    *Domain
}

// step expands one address and gives what it is. What was expanded already
// adds nothing.
func (x *expansion) step(s step) (Status, error) {
	var err error
	if s.domain, err = x.domain(s.Domain); err != nil || s.domain == nil {
		return NotOurs, err
	}
	s.key = s.Key()
	if v, ok := x.seen[s.key]; ok {
		if !s.forwarded && v.account != 0 {
			x.owners = append(x.owners, v.account)
		}
		return v.status, nil
	}
	if s.depth > maxDepth || len(x.seen) >= maxVisits {
		return Unknown, fmt.Errorf("%w: at <%s>", ErrTooDeep, s.Wire)
	}
	x.seen[s.key] = visit{status: looping}
	status, err := x.lookup(s)
	if err != nil {
		return Unknown, err
	}
	v := x.seen[s.key]
	v.status = status
	x.seen[s.key] = v
	return status, nil
}

// domain gives the domain of ours named so, or nil.
func (x *expansion) domain(name mail.Domain) (*Domain, error) {
	if dom, ok := x.domains[name]; ok {
		return dom, nil
	}
	dom, err := x.d.DomainTx(x.tx, name)
	switch {
	case err == nil:
		x.domains[name] = &dom
	case !errors.Is(err, ErrNotFound):
		return nil, err
	default:
		x.domains[name] = nil
		if _, routed := x.d.route(name); routed {
			x.domains[name] = &Domain{Name: name, Settings: DefaultDomainSettings()}
		}
	}
	return x.domains[name], nil
}

// lookup goes through the order that the package comment gives.
func (x *expansion) lookup(s step) (Status, error) {
	status, found, err := x.find(s)
	if err != nil || found && (status == Known || !isPostmaster(s.Local)) {
		return status, err
	}
	if sep := s.domain.Settings.PlusSeparator; sep != "" {
		base, detail, cut := strings.Cut(s.Local, sep)
		if cut && base != "" {
			plain := s
			plain.detail, plain.key = detail, mail.MakeAddress(base, s.Domain).Key()
			if status, found, err = x.find(plain); found || err != nil {
				return status, err
			}
		}
	}
	if isSRS(s.Local) {
		return x.unsrs(s)
	}
	route, routed := x.d.route(s.Domain)
	if t, tagged := parsePRVS(s.Local); tagged && (!routed || x.keys != nil && x.keys.good(t, s.Domain, time.Now())) {
		return x.untag(s, t)
	}
	if routed && !route.Listed {
		x.relay(s, s.Address)
		return Known, nil
	}
	if isPostmaster(s.Local) {
		return x.postmaster(s)
	}
	if all := s.domain.Settings.CatchAll; all != "" {
		return x.follow(s, all)
	}
	return Unknown, nil
}

func isPostmaster(local string) bool { return strings.EqualFold(local, "postmaster") }

// follow expands the one address that a setting names.
func (x *expansion) follow(s step, to string) (Status, error) {
	a, err := mail.ParseAddress(to)
	if err != nil {
		return Unknown, fmt.Errorf("setting of domain %s: %w", s.Domain, err)
	}
	return x.targetsOf(s, []mail.Address{a})
}

// find expands the account or alias of s.key, if there is one.
func (x *expansion) find(s step) (status Status, found bool, err error) {
	acct, err := scanAccount(x.tx.Row(accountByKey, s.key).Scan)
	if err == nil {
		status, err = x.account(s, acct)
		return status, true, err
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return Unknown, false, err
	}
	var list string
	err = x.tx.Row(`SELECT targets FROM alias WHERE addresskey = ?`, s.key).Scan(&list)
	if errors.Is(err, sql.ErrNoRows) {
		return Unknown, false, nil
	}
	if err != nil {
		return Unknown, false, err
	}
	to, err := ParseList(list)
	if err != nil {
		return Unknown, false, fmt.Errorf("alias <%s>: %w", s.Wire, err)
	}
	status, err = x.targetsOf(s, to)
	return status, true, err
}

// targetsOf expands what an alias leads to. An alias none of whose targets
// takes mail is nobody's address, or disabled when one of them is.
func (x *expansion) targetsOf(s step, to []mail.Address) (Status, error) {
	best := Unknown
	for _, a := range to {
		status, err := x.step(step{Address: a, detail: s.detail, depth: s.depth + 1, forwarded: s.forwarded})
		if err != nil {
			return Unknown, err
		}
		_, routed := x.d.route(a.Domain)
		switch {
		case status == NotOurs:
			x.forward(Target{Owner: s.Address, Forward: a})
			best = Known
		case status == looping && routed:
			x.relay(s, a) // an alias of itself lists a recipient behind the route
			best = Known
		case status > best:
			best = status
		}
	}
	return best, nil
}

// account adds the mailbox of an account, or where its mail goes on to.
func (x *expansion) account(s step, acct Account) (Status, error) {
	if acct.State != Active {
		return Disabled, nil
	}
	own := x.seen[s.Key()]
	own.account = acct.ID
	x.seen[s.Key()] = own
	if !s.forwarded {
		x.owners = append(x.owners, acct.ID)
	}
	keep := len(acct.Forward) == 0 || acct.KeepCopy
	_, routed := x.d.route(s.Domain)
	first := len(x.targets)
	for _, a := range acct.Forward {
		status, err := x.step(step{Address: a, depth: s.depth + 1, forwarded: true})
		if err != nil {
			return Unknown, err
		}
		if status == NotOurs {
			x.forward(Target{Owner: acct.Address, Forward: a, Keeper: acct.ID})
		} else if status != Known {
			keep = true
		}
	}
	if keep || routed { // the copy is in the mailbox, or the mailbox is not here
		for i := first; i < len(x.targets); i++ {
			if x.targets[i].Keeper == acct.ID {
				x.targets[i].Keeper = 0
			}
		}
	}
	switch {
	case !keep:
	case routed:
		x.relay(s, s.Address)
	case !x.boxes[acct.ID]:
		x.boxes[acct.ID] = true
		x.targets = append(x.targets, Target{
			Account: acct.ID, Owner: acct.Address, Detail: s.detail,
			Quota: acct.quota(s.domain), Used: acct.Used,
		})
	}
	return Known, nil
}

// postmaster finds somebody who reads: whom the domain names, an
// administrator, or at worst the oldest account.
func (x *expansion) postmaster(s step) (Status, error) {
	if to := s.domain.Settings.Postmaster; to != "" {
		if status, err := x.follow(s, to); err != nil || status == Known {
			return status, err
		}
	}
	acct, err := scanAccount(x.tx.Row(`SELECT ` + accountColumns + ` FROM account
		WHERE state = 'active' ORDER BY admin DESC, id LIMIT 1`).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return Unknown, nil
	}
	if err != nil {
		return Unknown, err
	}
	if v, ok := x.seen[acct.Address.Key()]; ok && v.status == looping {
		return Unknown, nil
	}
	return x.step(step{Address: acct.Address, depth: s.depth + 1, forwarded: s.forwarded})
}

// unsrs turns an SRS address of ours back.
func (x *expansion) unsrs(s step) (Status, error) {
	secret, ok := x.d.secrets.Load(srsSecret)
	if !ok {
		return Unknown, nil
	}
	back, err := decodeSRS(secret.([]byte), s.Local, srsDay())
	if err != nil {
		return Unknown, nil
	}
	if back.own {
		acct, err := scanAccount(x.tx.Row(accountByID, back.account).Scan)
		if errors.Is(err, sql.ErrNoRows) {
			return x.step(step{Address: mail.MakeAddress("postmaster", s.Domain), depth: s.depth + 1, forwarded: true})
		}
		if err != nil {
			return Unknown, err
		}
		x.targets = append(x.targets, Target{Account: acct.ID, Owner: acct.Address, Reverse: true})
		return Known, nil
	}
	status, err := x.step(step{Address: back.sender, depth: s.depth + 1, forwarded: true})
	if err == nil && status == NotOurs {
		x.forward(Target{Owner: s.Address, Forward: back.sender, Reverse: true})
		status = Known
	}
	return status, err
}

// untag goes on with the address behind the tag of a signed sender. Whether
// the tag is good matters for a bounce only (Directory.Bounce), but behind a
// route, where it may be the tag of the host there. It gives nobody a sender:
// tags are put on when mail leaves.
func (x *expansion) untag(s step, t prvs) (Status, error) {
	return x.step(step{Address: mail.MakeAddress(t.local, s.Domain), depth: s.depth + 1, forwarded: true})
}

func (x *expansion) relay(s step, to mail.Address) {
	x.forward(Target{Owner: s.Address, Forward: to, Relay: true})
}

// forward adds a forward that is not there yet.
func (x *expansion) forward(t Target) {
	if k := t.Forward.Key(); !x.forwards[k] {
		x.forwards[k] = true
		x.targets = append(x.targets, t)
	}
}
