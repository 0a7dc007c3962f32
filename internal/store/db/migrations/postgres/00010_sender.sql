-- +goose Up
-- Whom accounts allow or block: addresses, domains and networks.
CREATE TABLE listed_sender (
	account BIGINT NOT NULL REFERENCES account(id) ON DELETE CASCADE,
	pattern TEXT NOT NULL,
	action  TEXT NOT NULL,    -- allow, block
	at      BIGINT NOT NULL, -- ms since 1970
	by_whom TEXT NOT NULL,
	PRIMARY KEY (account, pattern)
);
