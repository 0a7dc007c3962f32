-- +goose Up
-- What SEARCH finds texts by (mailbox/fulltext), made when it is first needed.
-- It can be lost without harm. Nothing refers to mailbox: rows of folders that
-- are gone go later, piece by piece.
CREATE TABLE fulltext_folder (
    mailbox BIGINT PRIMARY KEY,                -- mailbox.id, never used again
    version INTEGER NOT NULL,                  -- of the format
    uid     BIGINT NOT NULL,                   -- up to it all messages are in the index
    next    BIGINT NOT NULL                    -- segment to be begun next; never goes back
) WITHOUT ROWID;

CREATE TABLE fulltext_segment (
    mailbox BIGINT NOT NULL,
    segment BIGINT NOT NULL,
    state   INTEGER NOT NULL,                  -- 0: being built, 1: in use, 2: to be deleted
    first   BIGINT NOT NULL,                   -- UIDs of its messages
    last    BIGINT NOT NULL,
    docs    BIGINT NOT NULL,                   -- messages
    blocks  BIGINT NOT NULL,
    size    BIGINT NOT NULL,                   -- octets
    created BIGINT NOT NULL,
    PRIMARY KEY (mailbox, segment)
) WITHOUT ROWID;
CREATE INDEX fulltext_segment_state ON fulltext_segment(state) WHERE state <> 1;

CREATE TABLE fulltext_block (
    mailbox BIGINT NOT NULL,
    segment BIGINT NOT NULL,
    kind    INTEGER NOT NULL,                  -- 0: words, 1: messages of each, 2: places in each message
    block   BIGINT NOT NULL,                   -- 0, 1, 2 … in the order of words
    data    BLOB NOT NULL,
    PRIMARY KEY (mailbox, segment, kind, block)
);

-- +goose Down
DROP TABLE fulltext_block;
DROP TABLE fulltext_segment;
DROP TABLE fulltext_folder;
