-- +goose Up
-- Outbound discipline: accounts whose sending is held, the mail that waits for
-- that, and what each node knows of an account's usual sending.
ALTER TABLE account ADD COLUMN held_since BIGINT NOT NULL DEFAULT 0;
ALTER TABLE account ADD COLUMN held_until BIGINT NOT NULL DEFAULT 0;   -- 0: not held
ALTER TABLE account ADD COLUMN held_reason TEXT NOT NULL DEFAULT '';   -- in words
ALTER TABLE account ADD COLUMN vouched BIGINT NOT NULL DEFAULT 0;      -- until then an administrator answers for what it sends
CREATE INDEX account_held ON account(held_until) WHERE held_until <> 0;

ALTER TABLE queue_recipient ADD COLUMN holder TEXT NOT NULL DEFAULT ''; -- why it is held: account, suspect; empty: an operator
CREATE INDEX queue_recipient_holder ON queue_recipient(holder) WHERE holder <> '';

CREATE TABLE sending (
    node    TEXT NOT NULL,
    account BIGINT NOT NULL REFERENCES account(id) ON DELETE CASCADE,
    state   BLOB  NOT NULL,                     -- edge.Outbound
    saved   BIGINT NOT NULL,
    PRIMARY KEY (node, account)
) WITHOUT ROWID;
CREATE INDEX sending_account ON sending(account);

-- +goose Down
DROP TABLE sending;
DROP INDEX queue_recipient_holder;
ALTER TABLE queue_recipient DROP COLUMN holder;
DROP INDEX account_held;
ALTER TABLE account DROP COLUMN vouched;
ALTER TABLE account DROP COLUMN held_reason;
ALTER TABLE account DROP COLUMN held_until;
ALTER TABLE account DROP COLUMN held_since;
