-- +goose Up
-- What SEARCH finds texts by (mailbox/fulltext), made when it is first needed.
-- It can be lost without harm. Nothing refers to mailbox: rows of folders that
-- are gone go later, piece by piece.
CREATE TABLE fulltext_folder (
    mailbox BIGINT NOT NULL,                   -- mailbox.id, never used again
    field   INTEGER NOT NULL,                  -- 0: body, 1: header
    version INTEGER NOT NULL,                  -- of the format
    uid     BIGINT NOT NULL,                   -- up to it all messages are in the index
    PRIMARY KEY (mailbox, field)
) WITHOUT ROWID;

CREATE TABLE fulltext_segment (
    id      INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again
    mailbox BIGINT NOT NULL,
    field   INTEGER NOT NULL,
    state   INTEGER NOT NULL,                  -- 0: being built, 1: in use, 2: to be deleted
    first   BIGINT NOT NULL,                   -- UIDs of its messages
    last    BIGINT NOT NULL,
    docs    BIGINT NOT NULL,                   -- messages
    blocks  BIGINT NOT NULL,
    size    BIGINT NOT NULL,                   -- octets
    created BIGINT NOT NULL
);
CREATE INDEX fulltext_segment_mailbox ON fulltext_segment(mailbox, field);
CREATE INDEX fulltext_segment_state ON fulltext_segment(state) WHERE state <> 1;

CREATE TABLE fulltext_block (
    segment BIGINT NOT NULL,
    kind    INTEGER NOT NULL,                  -- 0: words, 1: messages of each, 2: places in each message
    block   BIGINT NOT NULL,                   -- 0, 1, 2 … in the order of words
    data    BLOB NOT NULL,
    PRIMARY KEY (segment, kind, block)
);

-- +goose Down
DROP TABLE fulltext_block;
DROP TABLE fulltext_segment;
DROP TABLE fulltext_folder;
