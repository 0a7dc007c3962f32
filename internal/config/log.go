package config

import (
	"net/url"
	"reflect"
	"slices"
	"time"
)

// Log says what the node writes about itself to standard error, how long
// events are kept, and where they can be searched.
type Log struct {
	Level         string   `toml:"level" doc:"debug, info, warn or error. debug shows every event with its session's trace."`
	Format        string   `toml:"format" doc:"text or json."`
	RequireReason bool     `toml:"require_reason" doc:"Who searches events must say why; the reason is recorded with the search."`
	Journal       Journal  `toml:"journal"`
	Keep          Keep     `toml:"keep"`
	Store         LogStore `toml:"store"`
}

// Journal bounds the files in which the node itself keeps its events. Kinds
// that come in masses have files of their own, so that they cannot push out
// the others.
type Journal struct {
	File     Size     `toml:"file" doc:"A file is closed, compressed and a new one begun at this size."`
	Keep     Duration `toml:"keep" doc:"How long closed files are kept at most; log.keep may be shorter for some kinds."`
	Sessions Size     `toml:"sessions" doc:"Most room for events of sessions: connect, close, rcpt, refuse, edge, login, retrieve. The oldest go first."`
	Messages Size     `toml:"messages" doc:"Most room for events of messages: finding, accept, stored, attempt, settled, bounce, remove."`
	Audit    Size     `toml:"audit" doc:"Most room for all other events: setting, admin, search, expire, fault, lifecycle."`
}

// Keep says for each kind of event how long it is kept, in the journal and in
// the log store. Its keys are the kinds.
type Keep struct {
	Connect   Duration `toml:"connect" doc:"How long events of kind connect are kept."`
	Close     Duration `toml:"close" doc:"The same for close."`
	Rcpt      Duration `toml:"rcpt" doc:"The same for rcpt."`
	Refuse    Duration `toml:"refuse" doc:"The same for refuse."`
	Finding   Duration `toml:"finding" doc:"The same for finding."`
	Accept    Duration `toml:"accept" doc:"The same for accept."`
	Stored    Duration `toml:"stored" doc:"The same for stored."`
	Attempt   Duration `toml:"attempt" doc:"The same for attempt."`
	Settled   Duration `toml:"settled" doc:"The same for settled."`
	Bounce    Duration `toml:"bounce" doc:"The same for bounce."`
	Retrieve  Duration `toml:"retrieve" doc:"The same for retrieve."`
	Remove    Duration `toml:"remove" doc:"The same for remove."`
	Login     Duration `toml:"login" doc:"The same for login."`
	Edge      Duration `toml:"edge" doc:"The same for edge."`
	Setting   Duration `toml:"setting" doc:"The same for setting."`
	Admin     Duration `toml:"admin" doc:"The same for admin."`
	Search    Duration `toml:"search" doc:"The same for search."`
	Expire    Duration `toml:"expire" doc:"The same for expire."`
	Fault     Duration `toml:"fault" doc:"The same for fault."`
	Lifecycle Duration `toml:"lifecycle" doc:"The same for lifecycle."`
}

// ByKind gives the times by the names of the kinds.
func (k Keep) ByKind() map[string]time.Duration {
	kinds := map[string]time.Duration{}
	v := reflect.ValueOf(k)
	for i := range v.NumField() {
		kinds[v.Type().Field(i).Tag.Get("toml")] = v.Field(i).Interface().(Duration).D()
	}
	return kinds
}

// LogStore says where events are sent so that they can be searched.
type LogStore struct {
	URL      string `toml:"url" doc:"Empty: a child process of this node keeps them, in data_dir; http://… or https://…: a VictoriaLogs server; off: nowhere, only the journals have them."`
	User     string `toml:"user" doc:"Login at the server, if it asks for one."`
	Password string `toml:"password_file" doc:"File with its password."`
	Memory   Size   `toml:"memory" doc:"Memory that the child process may use, about."`
	MaxDisk  Size   `toml:"max_disk" doc:"Room on disk above which the child process deletes its oldest day; 0: as log.keep says."`
	MinFree  Size   `toml:"min_free" doc:"Free room below which the child process takes no more; the journal waits."`
}

func defaultLog() Log {
	day := Duration(24 * time.Hour)
	return Log{
		Level: "info", Format: "text",
		Journal: Journal{File: 128 << 20, Keep: 90 * day, Sessions: 4 << 30, Messages: 4 << 30, Audit: 1 << 30},
		Keep: Keep{
			Connect: 90 * day, Close: 90 * day, Rcpt: 90 * day, Refuse: 90 * day, Retrieve: 90 * day, Login: 90 * day, Edge: 90 * day,
			Finding: 180 * day, Accept: 180 * day, Stored: 180 * day, Attempt: 180 * day, Settled: 180 * day, Bounce: 180 * day, Remove: 180 * day,
			Setting: 730 * day, Admin: 730 * day, Search: 730 * day, Expire: 730 * day, Fault: 730 * day, Lifecycle: 730 * day,
		},
		Store: LogStore{Memory: 256 << 20, MinFree: 256 << 20},
	}
}

func (l *Log) check(ck *checker) {
	ck.bad(slices.Contains([]string{"debug", "info", "warn", "error"}, l.Level), "log.level", "%q is none of debug, info, warn, error", l.Level)
	ck.bad(l.Format == "text" || l.Format == "json", "log.format", "%q is neither text nor json", l.Format)
	j := &l.Journal
	ck.bad(j.File >= 64<<10, "log.journal.file", "must be at least 64 KiB")
	ck.bad(j.Keep > 0, "log.journal.keep", "must be more than 0")
	for key, size := range map[string]Size{"sessions": j.Sessions, "messages": j.Messages, "audit": j.Audit} {
		ck.bad(size >= j.File, "log.journal."+key, "must be at least log.journal.file")
	}
	for kind, keep := range l.Keep.ByKind() {
		ck.bad(keep >= 24*time.Hour, "log.keep."+kind, "must be at least 1d")
	}
	ck.bad(l.Store.Memory >= 64<<20, "log.store.memory", "must be at least 64 MiB")
	ck.bad(l.Store.MaxDisk >= 0 && l.Store.MinFree >= 0, "log.store", "sizes must not be negative")
	if l.Store.URL != "" && l.Store.URL != "off" {
		u, err := url.Parse(l.Store.URL)
		ck.bad(err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "", "log.store.url", "%q is no URL of a server, nor off", l.Store.URL)
	}
}
