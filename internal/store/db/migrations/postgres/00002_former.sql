-- +goose Up
-- Addresses that were somebody's: mail to them comes from honest lists.
CREATE TABLE former (
    addresskey TEXT COLLATE "C" PRIMARY KEY,
    ended      BIGINT NOT NULL
);
