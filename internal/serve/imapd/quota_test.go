package imapd

import (
	"testing"

	"github.com/migiwa/migiwa/internal/store/db"
)

func TestQuota(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		c := h.login(t, "alice")
		c.says(`GETQUOTAROOT INBOX`, `* QUOTAROOT INBOX`) // no limit, no root
		c.no(`GETQUOTA ""`, "NO [NONEXISTENT]")
		err := h.Mailboxes.DB.Write(t.Context(), func(tx *db.Tx) error {
			_, err := tx.Exec(`UPDATE account SET quota = ? WHERE id = 1`, 5<<20)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		c.says(`GETQUOTA ""`, `* QUOTA "" (STORAGE 0 5120)`)
		h.deliver(t, 1, "", "Subject: one\r\n\r\ntext\r\n")
		c.says(`GETQUOTAROOT Sent`, `* QUOTAROOT Sent ""`, `* QUOTA "" (STORAGE 1 5120)`)
		c.no(`GETQUOTAROOT nowhere`, "NO [NONEXISTENT]")
		c.no(`GETQUOTAROOT "Other Users/bob@example.test/INBOX"`, "NO [NONEXISTENT]")
		c.no(`GETQUOTA other`, "NO [NONEXISTENT]")
		c.no(`SETQUOTA "" (STORAGE 9999)`, "NO [NOPERM]")
		c.no(`SETQUOTA "" ()`, "NO [NOPERM]")
		c.no(`SETQUOTA ""`, "BAD")
		c.no(`SETQUOTA "" (STORAGE x)`, "BAD")
	})
}
