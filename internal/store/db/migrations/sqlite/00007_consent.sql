-- +goose Up
-- How far a filter may go: every change there was, and so, by the last one of a
-- subject and filter, what holds. account 0 and a domain: the domain's default.
CREATE TABLE consent (
	id       INTEGER PRIMARY KEY AUTOINCREMENT,
	at       INTEGER NOT NULL, -- ms since 1970
	account  INTEGER NOT NULL,
	subject  TEXT NOT NULL,    -- the account's address then, or the domain
	filter   TEXT NOT NULL,
	old_mode TEXT NOT NULL,    -- '' is the default
	new_mode TEXT NOT NULL,
	by_whom  TEXT NOT NULL,
	via      TEXT NOT NULL
);
CREATE INDEX consent_subject ON consent (account, subject);
