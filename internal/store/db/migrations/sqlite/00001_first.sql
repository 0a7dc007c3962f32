-- +goose Up
-- Times are Unix milliseconds. Addresses named *key are in canonical form.

CREATE TABLE domain (
    id       INTEGER PRIMARY KEY,
    name     TEXT NOT NULL UNIQUE,             -- A-labels, lower case
    settings TEXT NOT NULL DEFAULT '{}',       -- JSON, directory.DomainSettings
    created  BIGINT NOT NULL
);

CREATE TABLE account (
    id         INTEGER PRIMARY KEY,
    domain     BIGINT NOT NULL REFERENCES domain(id),
    addresskey TEXT NOT NULL UNIQUE,
    address    TEXT NOT NULL,                  -- as the administrator wrote it
    name       TEXT NOT NULL DEFAULT '',
    state      TEXT NOT NULL DEFAULT 'active', -- active, disabled
    admin      INTEGER NOT NULL DEFAULT 0,
    password   TEXT NOT NULL DEFAULT '',       -- PHC string; empty: no login
    scram      TEXT NOT NULL DEFAULT '',       -- SCRAM-SHA-256 keys, RFC 5803
    quota      BIGINT NOT NULL DEFAULT 0,      -- octets; 0: the domain's default, -1: none
    used       BIGINT NOT NULL DEFAULT 0,      -- octets
    messages   BIGINT NOT NULL DEFAULT 0,
    uidvalid   BIGINT NOT NULL DEFAULT 0,      -- newest UIDVALIDITY given to a folder
    uidvacated BIGINT NOT NULL DEFAULT 0,      -- newest UIDVALIDITY that left its name by deleting, renaming
    forward_to TEXT NOT NULL DEFAULT '',       -- addresses separated by spaces
    keep_copy  INTEGER NOT NULL DEFAULT 0,     -- forwarded mail stays here, too
    settings   TEXT NOT NULL DEFAULT '{}',     -- JSON, directory.AccountSettings
    created    BIGINT NOT NULL,
    changed    BIGINT NOT NULL
);
CREATE INDEX account_domain ON account(domain);

CREATE TABLE alias (
    addresskey TEXT PRIMARY KEY,
    domain     BIGINT NOT NULL REFERENCES domain(id),
    address    TEXT NOT NULL,
    targets    TEXT NOT NULL,                  -- addresses separated by spaces
    created    BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX alias_domain ON alias(domain);

CREATE TABLE dkim_key (
    domain    BIGINT NOT NULL REFERENCES domain(id),
    selector  TEXT NOT NULL,
    algorithm TEXT NOT NULL,                   -- rsa-sha256, ed25519-sha256
    private   TEXT NOT NULL,                   -- PEM, PKCS #8
    active    INTEGER NOT NULL DEFAULT 1,
    created   BIGINT NOT NULL,
    PRIMARY KEY (domain, selector)
) WITHOUT ROWID;

CREATE TABLE secret (
    name    TEXT PRIMARY KEY,                  -- srs, scram
    value   BLOB NOT NULL,
    created BIGINT NOT NULL
) WITHOUT ROWID;

-- One row a stored message body, however many mailboxes and queue entries
-- refer to it. The bytes are in the blob store under ref.
CREATE TABLE body (
    id      INTEGER PRIMARY KEY,
    ref     TEXT NOT NULL,
    size    BIGINT NOT NULL,
    refs    BIGINT NOT NULL,                   -- messages and queue entries; 0: to be deleted
    created BIGINT NOT NULL
);
CREATE INDEX body_unused ON body(id) WHERE refs = 0;
CREATE INDEX body_ref ON body(ref, size);      -- what lives in a segment

CREATE TABLE mailbox (
    id          INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again: OBJECTID (RFC 8474)
    account     BIGINT NOT NULL REFERENCES account(id),
    name        TEXT NOT NULL,                 -- UTF-8, levels separated by /
    role        TEXT NOT NULL DEFAULT '',      -- special use without backslash: Junk, Sent …
    uidvalidity BIGINT NOT NULL,
    uidnext     BIGINT NOT NULL DEFAULT 1,
    modseq      BIGINT NOT NULL DEFAULT 1,     -- highest given out
    messages    BIGINT NOT NULL DEFAULT 0,
    unseen      BIGINT NOT NULL DEFAULT 0,
    size        BIGINT NOT NULL DEFAULT 0,     -- octets
    forgotten   BIGINT NOT NULL DEFAULT 0,     -- expunges up to this mod-sequence are not in expunged any more
    created     BIGINT NOT NULL,
    UNIQUE (account, name)
);

-- prefix stands last, so that a list of messages need not read it.
CREATE TABLE message (
    mailbox  BIGINT NOT NULL REFERENCES mailbox(id),
    uid      BIGINT NOT NULL,
    body     BIGINT NOT NULL REFERENCES body(id),
    size     BIGINT NOT NULL,                  -- octets, prefix and body
    received BIGINT NOT NULL,                  -- INTERNALDATE
    saved    BIGINT NOT NULL,                  -- SAVEDATE (RFC 8514)
    flags    INTEGER NOT NULL DEFAULT 0,       -- bits, mailbox.Flags
    keywords TEXT NOT NULL DEFAULT '',         -- separated by spaces
    modseq   BIGINT NOT NULL,
    emailid  BIGINT NOT NULL,                  -- OBJECTID: the same for copies of one message
    trace    TEXT NOT NULL DEFAULT '',
    prefix   BLOB NOT NULL,                    -- header fields in front of the body, this recipient's own
    PRIMARY KEY (mailbox, uid)
) WITHOUT ROWID;
CREATE INDEX message_modseq ON message(mailbox, modseq);
CREATE INDEX message_body ON message(body);

CREATE TABLE expunged (
    mailbox BIGINT NOT NULL REFERENCES mailbox(id),
    uid     BIGINT NOT NULL,
    modseq  BIGINT NOT NULL,
    PRIMARY KEY (mailbox, uid)
) WITHOUT ROWID;
CREATE INDEX expunged_modseq ON expunged(mailbox, modseq);

-- Names a user subscribed to, whether or not there is such a folder
-- (RFC 9051 section 6.3.7).
CREATE TABLE subscription (
    account BIGINT NOT NULL REFERENCES account(id),
    name    TEXT NOT NULL,
    PRIMARY KEY (account, name)
) WITHOUT ROWID;

CREATE TABLE queue_message (
    id       INTEGER PRIMARY KEY,
    trace    TEXT NOT NULL,
    origin   TEXT NOT NULL,                    -- mx, submission, forward, dsn
    account  BIGINT NOT NULL DEFAULT 0,        -- who submitted it; 0: nobody
    sender   TEXT NOT NULL,                    -- wire form; empty: null sender
    body     BIGINT NOT NULL REFERENCES body(id),
    prefix   BLOB NOT NULL,                    -- header fields in front of the body
    size     BIGINT NOT NULL,                  -- octets, prefix and body
    bodytype TEXT NOT NULL,                    -- 7BIT, 8BITMIME, BINARYMIME
    smtputf8 INTEGER NOT NULL,
    ret      TEXT NOT NULL,                    -- FULL, HDRS or empty
    envid    TEXT NOT NULL,
    created  BIGINT NOT NULL,
    expires  BIGINT NOT NULL
);
CREATE INDEX queue_message_expires ON queue_message(expires);
CREATE INDEX queue_message_body ON queue_message(body);

CREATE TABLE queue_recipient (
    id       INTEGER PRIMARY KEY,
    message  BIGINT NOT NULL REFERENCES queue_message(id),
    address  TEXT NOT NULL,                    -- wire form
    route    TEXT NOT NULL,                    -- next hop: domain, or the route's own name
    orcpt    TEXT NOT NULL,
    notify   INTEGER NOT NULL,                 -- mail.Notify
    keeper   BIGINT NOT NULL DEFAULT 0,        -- account that keeps the mail if this fails for good; 0: none
    state    TEXT NOT NULL,                    -- waiting, held, delivered, failed
    attempts INTEGER NOT NULL DEFAULT 0,
    next     BIGINT NOT NULL,                  -- when to try
    warned   INTEGER NOT NULL DEFAULT 0,       -- a delay was reported
    last     BIGINT NOT NULL DEFAULT 0,        -- time of the newest attempt
    host     TEXT NOT NULL DEFAULT '',         -- its peer
    code     INTEGER NOT NULL DEFAULT 0,       -- its reply
    enhanced TEXT NOT NULL DEFAULT '',
    reply    TEXT NOT NULL DEFAULT ''          -- the peer's words, or ours when there was no peer
);
CREATE INDEX queue_recipient_message ON queue_recipient(message);
CREATE INDEX queue_recipient_due ON queue_recipient(next, route) WHERE state = 'waiting';
CREATE INDEX queue_recipient_route ON queue_recipient(route) WHERE state = 'waiting';

-- Failures nobody is told of one by one: the postmaster gets one digest.
CREATE TABLE double_bounce (
    id      INTEGER PRIMARY KEY,
    created BIGINT NOT NULL,
    sender  TEXT NOT NULL,
    address TEXT NOT NULL,
    reason  TEXT NOT NULL,
    trace   TEXT NOT NULL
);

-- +goose Down
DROP TABLE double_bounce;
DROP TABLE queue_recipient;
DROP TABLE queue_message;
DROP TABLE subscription;
DROP TABLE expunged;
DROP TABLE message;
DROP TABLE mailbox;
DROP TABLE body;
DROP TABLE secret;
DROP TABLE dkim_key;
DROP TABLE alias;
DROP TABLE account;
DROP TABLE domain;
