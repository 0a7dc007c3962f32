package imap

import "maps"

// jamesOnly are the dialogues that hold James to be the only server: what they
// want is no rule of the protocol, or against it.
var jamesOnly = map[string]string{
	"BadTag":                      "James ends the connection at the first line that is no command",
	"BogusCommand":                "James ends the connection at the first line that is no command",
	"IllegalTag":                  "James ends the connection at the first line that is no command",
	"JustTag":                     "James ends the connection at the first line that is no command",
	"NoTag":                       "James ends the connection at the first line that is no command",
	"LoginThreeStrikes":           "James ends the connection at the third wrong password",
	"CondstoreDisable":            "about a setting of James that turns CONDSTORE off",
	"ListNamespace":               "LIST \"#private\" is about James's names of namespaces",
	"Namespace":                   "names of James's namespaces",
	"MetadataWithBinaryData":      "wants a line end within a quoted string, which RFC 9051 forbids",
	"FetchMultipartBodyStructure": "wants FETCH 1:* () to succeed, which RFC 9051 forbids",
	"FetchSimpleBodyStructure":    "wants FETCH 1:* () to succeed, which RFC 9051 forbids",
	"FetchSingleMessage":          "wants FETCH 1 (ALL) to succeed; a macro stands alone (RFC 9051 6.4.5)",
	"TextPartialFetch":            "wants BAD for <0.0>; other servers give nothing",
	"Quota":                       "James's quota roots and the sizes its set-up allows",
	"SearchOptionSave":            "wants SEARCH beside RETURN (SAVE), which RFC 9051 6.4.4.1 forbids",
	"SharedMailbox":               "names of James's namespaces",
	"MetadataWithLimitation":      "wants James's limit of 1024 octets for an annotation",
	"ACLIntegrationCopyIS":        "written for Cyrus and its names of other users' INBOX",
	"ACLIntegrationCopyWithoutS":  "written for Cyrus and its names of other users' INBOX",
	"ACLIntegrationRightIT":       "written for Cyrus and its names of other users' INBOX",
	"ACLIntegrationRightIW":       "written for Cyrus and its names of other users' INBOX",
	"ACLIntegrationRightL":        "written for Cyrus and its names of other users' INBOX",
	"ACLIntegrationRightR":        "written for Cyrus and its names of other users' INBOX",
	"ACLIntegrationRightRW":       "written for Cyrus and its names of other users' INBOX",
	"ACLIntegrationRightX":        "written for Cyrus and its names of other users' INBOX",
	"ACLIntegrationWithoutRightA": "written for Cyrus and its names of other users' INBOX",
	"ACLIntegrationWithoutRightE": "written for Cyrus and its names of other users' INBOX",
	"ACLIntegrationWithoutRightK": "written for Cyrus and its names of other users' INBOX",
	"ACLIntegrationWithoutRightL": "written for Cyrus and its names of other users' INBOX",
	"ACLIntegrationWithoutRightR": "written for Cyrus and its names of other users' INBOX",
	"ACLIntegrationWithoutRightS": "written for Cyrus and its names of other users' INBOX",
	"CreateErrorWithLongName":     "BAD or NO for a name that is too long is left to the server",
}

func with(more map[string]string) map[string]string {
	all := maps.Clone(jamesOnly)
	maps.Copy(all, more)
	return all
}

// dovecotDialogues are the dialogues that Dovecot answers otherwise, and why
// that says nothing against the runner.
var dovecotDialogues = with(map[string]string{
	"ConcurrentCrossExpunge":      "Dovecot does not tell of a STORE that changes nothing",
	"ConcurrentFetchResponse":     "Dovecot tells news after some commands only",
	"ConcurrentRenameSelected":    "Dovecot ends the session when its mailbox is renamed",
	"ConcurrentRenameSelectedSub": "Dovecot ends the session when its mailbox is renamed",
	"ExamineReadOnly":             "Dovecot has no permanent flags after EXAMINE",
	"FetchMultipartMixedComplex":  "Dovecot counts the line end before the last boundary of an inner part otherwise",
	"FetchStructureEmbedded":      "Dovecot counts the line end before the last boundary of an inner part otherwise",
	"FetchNILSaveDate":            "Dovecot has a save date where James has none",
	"Id":                          "Dovecot tells its name",
	"Login":                       "Dovecot ends the connection after some wrong commands",
	"RenameInbox":                 "Dovecot does not rename INBOX",
	"RenameSelected":              "wants a mailbox that an earlier part of James's run has left",
	"UidSearchAtoms":              "James searches the raw text; Dovecot the decoded parts",
	"ValidNonAuthenticated":       "LOGIN after login: Dovecot says BAD",
	"PeekMultipartMixedComplex":   "Dovecot counts the line end before the last boundary of an inner part otherwise",
	"ListSubscribed":              "Dovecot tells of children only where asked to",
	"Subscribe":                   "Dovecot refuses to subscribe to what does not exist",
	"SharingAccessLR":             "Dovecot's users have their domain in an ACL, the dialogue's have not",
	"SharingAccessLRI":            "Dovecot's users have their domain in an ACL, the dialogue's have not",
	"SharingAccessLRS":            "Dovecot's users have their domain in an ACL, the dialogue's have not",
	"SharingAccessLRT":            "Dovecot's users have their domain in an ACL, the dialogue's have not",
	"SharingAccessLRTE":           "Dovecot's users have their domain in an ACL, the dialogue's have not",
	"SharingAccessLRW":            "Dovecot's users have their domain in an ACL, the dialogue's have not",
	"SharingAccessLRX":            "Dovecot's users have their domain in an ACL, the dialogue's have not",
})

var knownScripts = map[string]string{}

var knownDialogues = with(map[string]string{})
