-- +goose Up
-- What was seen of mail by the policies of its authors' domains (DMARC), a day
-- and a policy each, until its report is sent.
CREATE TABLE dmarc_policy (
	id      INTEGER PRIMARY KEY AUTOINCREMENT,
	day     INTEGER NOT NULL, -- since 1970
	domain  TEXT NOT NULL,
	policy  TEXT NOT NULL,    -- JSON, with where its reports go
	claimed INTEGER NOT NULL, -- ms since 1970, when a node began to report; 0: none
	UNIQUE (day, domain, policy)
);
CREATE TABLE dmarc_row (
	policy INTEGER NOT NULL REFERENCES dmarc_policy(id) ON DELETE CASCADE,
	alike  TEXT NOT NULL, -- what its messages had in common, JSON
	count  INTEGER NOT NULL,
	PRIMARY KEY (policy, alike)
) WITHOUT ROWID;

-- What others report of mail of our domains.
CREATE TABLE dmarc_report (
	id       INTEGER PRIMARY KEY AUTOINCREMENT,
	org      TEXT NOT NULL,
	report   TEXT NOT NULL, -- the reporter's name of it
	domain   TEXT NOT NULL,
	began    INTEGER NOT NULL, -- s since 1970
	ended    INTEGER NOT NULL,
	received INTEGER NOT NULL, -- ms since 1970
	UNIQUE (org, report, domain, began)
);
CREATE INDEX dmarc_report_domain ON dmarc_report (domain, ended);
CREATE TABLE dmarc_report_row (
	report      INTEGER NOT NULL REFERENCES dmarc_report(id) ON DELETE CASCADE,
	source      TEXT NOT NULL,
	count       INTEGER NOT NULL,
	passed      INTEGER NOT NULL, -- 1: the author's domain was proven
	disposition TEXT NOT NULL,
	header_from TEXT NOT NULL,
	proof       TEXT NOT NULL     -- what SPF and DKIM said, in words
);
CREATE INDEX dmarc_report_row_report ON dmarc_report_row (report);

-- Up to where the mail of an account was read for reports.
CREATE TABLE report_read (
	folder INTEGER PRIMARY KEY,
	uid    INTEGER NOT NULL
);
