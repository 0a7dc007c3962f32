-- +goose Up
-- Messages that their owner has moved into the Junk folder, out of it or away
-- from the INBOX, until somebody has looked at them.
CREATE TABLE lesson (
	id      INTEGER PRIMARY KEY AUTOINCREMENT,
	account INTEGER NOT NULL REFERENCES account(id) ON DELETE CASCADE,
	body    BIGINT NOT NULL,
	emailid INTEGER NOT NULL,
	junk    INTEGER NOT NULL, -- 0: out of Junk, 1: into it, 2: kept
	at      INTEGER NOT NULL  -- ms since 1970
);
CREATE INDEX lesson_account ON lesson(account);

-- What was learned from which message, so that it can be taken back.
CREATE TABLE taught (
	account INTEGER NOT NULL REFERENCES account(id) ON DELETE CASCADE,
	emailid INTEGER NOT NULL,
	spam    INTEGER NOT NULL, -- as lesson.junk
	PRIMARY KEY (account, emailid)
) WITHOUT ROWID;

-- Taught messages of an account, and how many of them had a word.
CREATE TABLE learned (
	account INTEGER PRIMARY KEY REFERENCES account(id) ON DELETE CASCADE,
	version INTEGER NOT NULL, -- of the words
	spam    INTEGER NOT NULL,
	ham     INTEGER NOT NULL
);
CREATE TABLE learned_word (
	account INTEGER NOT NULL REFERENCES account(id) ON DELETE CASCADE,
	word    INTEGER NOT NULL, -- hash
	spam    INTEGER NOT NULL,
	ham     INTEGER NOT NULL,
	PRIMARY KEY (account, word)
) WITHOUT ROWID;
