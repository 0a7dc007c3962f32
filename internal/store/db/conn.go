package db

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
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
	begin      string
	statements map[string]*sql.Stmt
}

func (d *DB) connect(ctx context.Context) (*conn, error) {
	c, err := d.pool.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to database: %w", err)
	}
	begin := "BEGIN IMMEDIATE"
	if d.dialect == Postgres {
		begin = "BEGIN"
	}
	return &conn{Conn: c, dialect: d.dialect, begin: begin, statements: map[string]*sql.Stmt{}}, nil
}

// healthy gives c, or a new connection when the server has closed c. SQLite
// connections do not break.
func (d *DB) healthy(c *conn) *conn {
	return c
}

func (c *conn) close() {
	for _, s := range c.statements {
		s.Close()
	}
	c.Conn.Close()
}

// rollback ends a failed transaction. Its own error says only that the
// database has ended it already.
func (c *conn) rollback(ctx context.Context) { c.ExecContext(ctx, "ROLLBACK") }

func (c *conn) read(ctx context.Context, fn func(*Tx) error) error {
	begin := "BEGIN"
	if c.dialect == Postgres {
		begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
	}
	if _, err := c.ExecContext(ctx, begin); err != nil {
		return explain(fmt.Errorf("begin: %w", err))
	}
	defer c.rollback(context.Background())
	return explain(call(fn, &Tx{ctx: ctx, conn: c}))
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
	ctx   context.Context
	conn  *conn
	after []func()
}

// Pick gives the query of the database in use.
func (tx *Tx) Pick(sqlite, postgres string) string {
	if tx.conn.dialect == Postgres {
		return postgres
	}
	return sqlite
}

// OnCommit runs f after the transaction is on disk and before Write returns,
// on the writer's goroutine: f must be short and must not use the database.
func (tx *Tx) OnCommit(f func()) { tx.after = append(tx.after, f) }

// Exec runs a statement and gives the number of rows it changed.
func (tx *Tx) Exec(query string, args ...any) (int64, error) {
	s, err := tx.conn.statement(tx.ctx, query)
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
	s, err := tx.conn.statement(tx.ctx, query)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return tx.conn.QueryContext(tx.ctx, tx.conn.rebind(query), args...)
	}
	return s.QueryContext(tx.ctx, args...)
}

// Row runs a query of at most one row; Scan gives sql.ErrNoRows for none.
func (tx *Tx) Row(query string, args ...any) Row {
	rows, err := tx.Query(query, args...)
	return Row{rows: rows, err: err}
}

// Row is the result of Tx.Row.
type Row struct {
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
			return err
		}
		return sql.ErrNoRows
	}
	if err := r.rows.Scan(dest...); err != nil {
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
	return rows.Err()
}
