-- +goose Up
-- What accounts have made of mail of a network or a proven domain. Counts fade:
-- they are as of their time.
CREATE TABLE reputation (
	name    TEXT NOT NULL, -- net:192.0.2.0/24, domain:example.org
	account BIGINT NOT NULL REFERENCES account(id) ON DELETE CASCADE,
	spam    DOUBLE PRECISION NOT NULL,
	ham     DOUBLE PRECISION NOT NULL,
	at      BIGINT NOT NULL, -- ms since 1970
	PRIMARY KEY (name, account)
);
CREATE INDEX reputation_at ON reputation (at);
