package directory

import (
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/migiwa/migiwa/internal/bus"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/store/db"
)

// Topic is the bus topic of "something in the directory changed".
const Topic = "directory"

const (
	cacheTime    = 30 * time.Second // a lost notice does no harm longer than this
	usedTime     = 2 * time.Second
	verifiedTime = 5 * time.Minute

	cacheSize = 20_000 // entries in each half of a cache
)

// Errors that callers tell apart; they come wrapped with what was asked for.
var (
	ErrNotFound = errors.New("does not exist")
	ErrExists   = errors.New("exists already")
	ErrInvalid  = errors.New("invalid")
	ErrInUse    = errors.New("still in use")
	ErrTooDeep  = errors.New("aliases or forwards lead too far")
)

// Directory answers from the database, with a cache that other processes'
// changes clear through the bus. Its fields are set before use.
type Directory struct {
	DB            *db.DB
	Bus           *bus.Bus    // nil: no other process, no listeners
	DefaultDomain mail.Domain // of bare logins and bare postmaster; empty: the oldest domain

	routes     atomic.Pointer[map[mail.Domain]Route]
	once       sync.Once
	cancel     func() // of the subscription
	generation atomic.Uint64

	resolutions *cache[string, Resolution]
	domains     *cache[mail.Domain, domainEntry]
	used        *cache[int64, int64]
	verified    *cache[[32]byte, struct{}]
	consents    *cache[consentKey, map[string]string]
	senders     *cache[int64, []ListedSender]
	prvs        *cache[string, *prvsKeys]
	secrets     sync.Map // name → []byte; those kept here never change
	hashing     chan struct{}
	verifiedKey [32]byte
}

// Route says which recipients of a routed domain are accepted.
type Route struct {
	Listed bool // only accounts and aliases; otherwise any
}

// SetRoutes says which domains have their mailboxes behind a back-end; a name
// ".domain" stands for all below it. The map is not changed afterwards.
func (d *Directory) SetRoutes(routes map[mail.Domain]Route) {
	d.routes.Store(&routes)
	d.generation.Add(1)
}

// route gives the route that holds for a domain.
func (d *Directory) route(name mail.Domain) (Route, bool) {
	p := d.routes.Load()
	if p == nil || len(*p) == 0 {
		return Route{}, false
	}
	routes := *p
	if r, ok := routes[name]; ok {
		return r, true
	}
	for rest := string(name); ; {
		i := strings.IndexByte(rest, '.')
		if i < 0 {
			return Route{}, false
		}
		if r, ok := routes[mail.Domain(rest[i:])]; ok {
			return r, true
		}
		rest = rest[i+1:]
	}
}

// open prepares the caches at the first use.
func (d *Directory) open() {
	d.once.Do(func() {
		d.resolutions = newCache[string, Resolution](cacheSize, cacheTime)
		d.domains = newCache[mail.Domain, domainEntry](cacheSize, cacheTime)
		d.used = newCache[int64, int64](cacheSize, usedTime)
		d.verified = newCache[[32]byte, struct{}](cacheSize, verifiedTime)
		d.consents = newCache[consentKey, map[string]string](cacheSize, cacheTime)
		d.senders = newCache[int64, []ListedSender](cacheSize, cacheTime)
		d.prvs = newCache[string, *prvsKeys](1, cacheTime)
		d.hashing = make(chan struct{}, runtime.GOMAXPROCS(0))
		randomBytes(d.verifiedKey[:])
		if d.Bus != nil {
			d.cancel = d.Bus.Subscribe(Topic, func([]byte) { d.generation.Add(1) })
		}
	})
}

// Close ends the subscription to the bus. The database stays open.
func (d *Directory) Close() {
	d.open()
	if d.cancel != nil {
		d.cancel()
	}
}

// Changed makes every cached answer stale, here and in other processes, once
// tx is committed. Methods of Directory that change something call it.
func (d *Directory) Changed(tx *db.Tx) {
	d.open()
	tx.OnCommit(func() {
		d.generation.Add(1)
		if d.Bus != nil {
			d.Bus.Publish(Topic, nil)
		}
	})
}
