-- +goose Up
-- What the newest look for viruses at a body found; bodies that were looked at
-- only when they came are not in it.
CREATE TABLE scan (
	body    BIGINT PRIMARY KEY REFERENCES body(id) ON DELETE CASCADE,
	version TEXT NOT NULL, -- of the signatures
	found   TEXT NOT NULL  -- '' is nothing
);
CREATE TABLE signatures (
	version TEXT PRIMARY KEY,
	since   BIGINT NOT NULL -- ms since 1970
);
