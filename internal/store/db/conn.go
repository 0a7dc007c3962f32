package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/stdlib"
)

// maxStatements bounds the prepared statements of one connection; beyond it
// queries run unprepared. Queries are constants, so it is never reached in
// good order.
const maxStatements = 500

// conn is one database connection with its prepared statements. It belongs to
// one goroutine at a time.
type conn struct {
	*sql.Conn
	dialect    Dialect
	dir        string // of the SQLite file, to ask for its room
	statements map[string]*sql.Stmt
	broken     bool // to be replaced before the next use
}

// connect gives a new connection for the writer or a reader.
func (d *DB) connect(ctx context.Context, reader bool) (*conn, error) {
	sc, err := d.pool.Conn(ctx)
	if err != nil {
		return nil, explainConnect(fmt.Errorf("connect to database: %w", err))
	}
	c := &conn{Conn: sc, dialect: d.dialect, dir: filepath.Dir(d.path), statements: map[string]*sql.Stmt{}}
	// A commit must be on disk whatever the server's default is.
	first := `SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'`
	if d.dialect == SQLite {
		first = "PRAGMA query_only = OFF" // the pool may give a former reader's
		if reader {
			first = "PRAGMA query_only = ON"
		}
	}
	if _, err := c.ExecContext(ctx, first); err != nil {
		c.discard()
		return nil, c.explain(fmt.Errorf("connect to database: %w", err))
	}
	return c, nil
}

// healthy gives c, or a new connection when there is none or it is broken. On
// failure it gives none.
func (d *DB) healthy(ctx context.Context, c *conn, reader bool) (*conn, error) {
	if c != nil && !c.broken {
		return c, nil
	}
	if c != nil {
		c.discard()
		d.stats.reconnects.Add(1)
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return d.connect(ctx, reader)
}

func (c *conn) close() {
	for _, s := range c.statements {
		s.Close()
	}
	c.Conn.Close()
}

// discard closes c and keeps it from going back into the pool.
func (c *conn) discard() {
	c.Raw(func(any) error { return driver.ErrBadConn })
	c.close()
}

// begin begins a transaction that may write.
func (c *conn) begin(ctx context.Context) error {
	begin := "BEGIN IMMEDIATE"
	if c.dialect == Postgres {
		begin = "BEGIN"
	}
	if _, err := c.ExecContext(ctx, begin); err != nil {
		return c.explain(fmt.Errorf("begin: %w", err))
	}
	return nil
}

// rollback ends a failed transaction, and a connection that cannot even do
// that. SQLite has ended the transaction already after some errors.
func (c *conn) rollback() {
	if c.broken {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	if _, err := c.ExecContext(ctx, "ROLLBACK"); err != nil && !strings.Contains(err.Error(), "no transaction is active") {
		c.broken = true
	}
}

// read runs fn on a snapshot. begun tells whether fn has run.
func (c *conn) read(ctx context.Context, fn func(*Tx) error) (begun bool, err error) {
	begin := "BEGIN"
	if c.dialect == Postgres {
		begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
	}
	if _, err := c.ExecContext(ctx, begin); err != nil {
		return false, c.explain(fmt.Errorf("begin: %w", err))
	}
	defer c.rollback()
	return true, c.explain(call(fn, &Tx{ctx: ctx, conn: c}))
}

// aborted tells whether PostgreSQL will turn COMMIT into ROLLBACK, without an
// error, because a statement has failed.
func (c *conn) aborted() bool {
	if c.dialect == SQLite {
		return false
	}
	status := byte('E')
	c.Raw(func(dc any) error {
		status = dc.(*stdlib.Conn).Conn().PgConn().TxStatus()
		return nil
	})
	return status == 'E'
}

// statement gives the prepared statement of query, or nil when there are too
// many.
func (c *conn) statement(ctx context.Context, query string) (*sql.Stmt, error) {
	if s, ok := c.statements[query]; ok {
		return s, nil
	}
	if len(c.statements) >= maxStatements {
		return nil, nil
	}
	s, err := c.PrepareContext(ctx, c.rebind(query))
	if err != nil {
		return nil, fmt.Errorf("prepare %q: %w", query, err)
	}
	c.statements[query] = s
	return s, nil
}

// rebind writes ? as $1, $2 … for PostgreSQL. Queries hold no ? in literals.
func (c *conn) rebind(query string) string {
	if c.dialect == SQLite || !strings.Contains(query, "?") {
		return query
	}
	var b strings.Builder
	n := 0
	for i := range len(query) {
		if query[i] != '?' {
			b.WriteByte(query[i])
			continue
		}
		n++
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(n))
	}
	return b.String()
}

// Tx is a transaction, or a snapshot in Read. It is valid only inside the
// function it was given to, and only in that goroutine.
type Tx struct {
	ctx    context.Context
	conn   *conn                 // nil when the function has returned
	before map[string]chan error // of the whole batch
	after  []func()
	rows   *sql.Rows // those of the last query
	failed error     // of a statement of the function
}

// Pick gives the query of the database in use.
func (tx *Tx) Pick(sqlite, postgres string) string {
	if tx.conn.dialect == Postgres {
		return postgres
	}
	return sqlite
}

// BeforeCommit runs f beside the transaction, which becomes durable only after f
// has returned nil. It is for what must be on disk before the rows that speak of
// it. Of the functions that share a commit the first to give a name has its f
// run for all; so what f syncs must be written before Write is called. An error
// of f is that of them all.
func (tx *Tx) BeforeCommit(name string, f func() error) {
	if tx.before[name] != nil {
		return
	}
	done := make(chan error, 1)
	tx.before[name] = done
	go func() { done <- f() }()
}

// OnCommit runs f after the transaction is on disk and before Write returns,
// on the writer's goroutine: f must be short and must not use the database.
func (tx *Tx) OnCommit(f func()) { tx.after = append(tx.after, f) }

// Exec runs a statement and gives the number of rows it changed.
func (tx *Tx) Exec(query string, args ...any) (int64, error) {
	s, err := tx.statement(query)
	if err != nil {
		return 0, err
	}
	var res sql.Result
	if s == nil {
		res, err = tx.conn.ExecContext(tx.ctx, tx.conn.rebind(query), args...)
	} else {
		res, err = s.ExecContext(tx.ctx, args...)
	}
	if err != nil {
		tx.failed = err
		return 0, err
	}
	return res.RowsAffected()
}

// Insert runs an INSERT that ends in RETURNING one integer, and gives it.
func (tx *Tx) Insert(query string, args ...any) (int64, error) {
	var id int64
	err := tx.Row(query, args...).Scan(&id)
	return id, err
}

// Query runs a query; the rows must be closed before the next statement.
func (tx *Tx) Query(query string, args ...any) (*sql.Rows, error) {
	s, err := tx.statement(query)
	if err != nil {
		return nil, err
	}
	var rows *sql.Rows
	if s == nil {
		rows, err = tx.conn.QueryContext(tx.ctx, tx.conn.rebind(query), args...)
	} else {
		rows, err = s.QueryContext(tx.ctx, args...)
	}
	if err != nil {
		tx.failed = err
		return nil, err
	}
	tx.rows = rows
	return rows, nil
}

func (tx *Tx) statement(query string) (*sql.Stmt, error) {
	if tx.conn == nil {
		return nil, sql.ErrTxDone
	}
	s, err := tx.conn.statement(tx.ctx, query)
	if err != nil {
		tx.failed = err
	}
	return s, err
}

// Row runs a query of at most one row; Scan gives sql.ErrNoRows for none.
func (tx *Tx) Row(query string, args ...any) Row {
	rows, err := tx.Query(query, args...)
	return Row{tx: tx, rows: rows, err: err}
}

// Row is the result of Tx.Row.
type Row struct {
	tx   *Tx
	rows *sql.Rows
	err  error
}

// Scan copies the columns and closes the row. It must be called.
func (r Row) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	defer r.rows.Close()
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			r.tx.failed = err
			return err
		}
		return sql.ErrNoRows
	}
	if err := r.rows.Scan(dest...); err != nil {
		return err
	}
	// Only the end of the rows tells that INSERT … RETURNING has succeeded.
	for r.rows.Next() {
	}
	if err := r.rows.Err(); err != nil {
		r.tx.failed = err
		return err
	}
	return r.rows.Close()
}

// Each runs a query and calls fn for every row with the row's Scan.
func (tx *Tx) Each(query string, args []any, fn func(scan func(...any) error) error) error {
	rows, err := tx.Query(query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := fn(rows.Scan); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		tx.failed = err
		return err
	}
	return nil
}
