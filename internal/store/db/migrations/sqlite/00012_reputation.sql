-- +goose Up
-- What accounts have made of mail of a network or a proven domain. Counts fade:
-- they are as of their time.
CREATE TABLE reputation (
	name    TEXT NOT NULL, -- net:192.0.2.0/24, domain:example.org
	account INTEGER NOT NULL REFERENCES account(id) ON DELETE CASCADE,
	spam    REAL NOT NULL,
	ham     REAL NOT NULL,
	at      INTEGER NOT NULL, -- ms since 1970
	PRIMARY KEY (name, account)
) WITHOUT ROWID;
CREATE INDEX reputation_at ON reputation (at);
