package mailbox

import "context"

// Rights are what an account may do with a folder (RFC 4314 section 2.1).
type Rights uint16

// The rights, in the order in which they are written: lrswipkxtea.
const (
	Lookup       Rights = 1 << iota // l: the folder is listed
	ReadRight                       // r: SELECT, FETCH, SEARCH, COPY from it
	KeepSeen                        // s: \Seen
	WriteFlags                      // w: flags other than \Seen and \Deleted
	Insert                          // i: APPEND, COPY into it
	Post                            // p: mail to the folder's own address
	CreateBelow                     // k: folders below it
	DeleteFolder                    // x: DELETE, RENAME of it
	DeleteMark                      // t: \Deleted
	ExpungeRight                    // e: EXPUNGE
	Administer                      // a: SETACL

	AllRights = Administer<<1 - 1
)

// RightsOf gives what an account may do with a folder. Its owner may do
// everything.
func (s *Store) RightsOf(ctx context.Context, f Folder, account int64) (Rights, error) {
	if f.Account == account {
		return AllRights, nil
	}
	return 0, nil
}
