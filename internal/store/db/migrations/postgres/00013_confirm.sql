-- +goose Up
-- Whom accounts know that ask unknown senders for confirmation.
CREATE TABLE correspondent (
	account BIGINT NOT NULL REFERENCES account(id) ON DELETE CASCADE,
	address TEXT NOT NULL,    -- key
	state   TEXT NOT NULL,    -- asked, known
	at      BIGINT NOT NULL, -- ms since 1970
	PRIMARY KEY (account, address)
);
CREATE INDEX correspondent_asked ON correspondent (state, at);
