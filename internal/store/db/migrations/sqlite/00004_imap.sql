-- +goose Up
-- What IMAP says of a body's content (mail/outline), made when it is first
-- needed. It can be lost without harm.
CREATE TABLE outline (
    body INTEGER PRIMARY KEY REFERENCES body(id) ON DELETE CASCADE,
    data BLOB NOT NULL                         -- outline.Append
);

-- Rights of others in a folder (RFC 4314). The owner has all, without a row.
CREATE TABLE mailbox_grant (
    mailbox BIGINT NOT NULL REFERENCES mailbox(id) ON DELETE CASCADE,
    grantee BIGINT NOT NULL,                   -- account; 0: anyone of the owner's domain
    rights  INTEGER NOT NULL,                  -- bits, mailbox.Rights; never 0
    PRIMARY KEY (mailbox, grantee)
) WITHOUT ROWID;
CREATE INDEX mailbox_grant_grantee ON mailbox_grant(grantee);

-- Annotations of the server and of folders (RFC 5464).
CREATE TABLE annotation (
    account BIGINT NOT NULL,                   -- whose; of a shared one the folder's owner
    mailbox BIGINT NOT NULL,                   -- 0: the server
    entry   TEXT NOT NULL,                     -- lower case, /private/… or /shared/…
    value   BLOB NOT NULL,
    PRIMARY KEY (account, mailbox, entry)
) WITHOUT ROWID;
CREATE INDEX annotation_mailbox ON annotation(mailbox);

-- The rows of message are long; what is asked of all messages of a folder,
-- which, flags and keywords, is here together. These change with modseq anyway.
DROP INDEX message_modseq;
CREATE INDEX message_modseq ON message(mailbox, modseq, uid, flags, keywords);

-- +goose Down
DROP INDEX message_modseq;
CREATE INDEX message_modseq ON message(mailbox, modseq);
DROP TABLE annotation;
DROP TABLE mailbox_grant;
DROP TABLE outline;
