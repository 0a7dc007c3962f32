-- +goose Up
-- Addresses that were somebody's: mail to them comes from honest lists.
CREATE TABLE former (
    addresskey TEXT PRIMARY KEY,
    ended      INTEGER NOT NULL
) WITHOUT ROWID;
