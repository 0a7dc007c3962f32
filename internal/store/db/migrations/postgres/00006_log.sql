-- +goose Up
-- Who may search the events of everybody's mail.
ALTER TABLE account ADD COLUMN reads_log INTEGER NOT NULL DEFAULT 0;
