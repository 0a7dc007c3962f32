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
	"ExamineReadOnly":             "wants permanent flags after EXAMINE, when no flag can be changed",
	"FetchNILSaveDate":            "the memory store of James's tests has no save date",
	"Id":                          "James says ID NIL, others their name",
	"UidSearchAtoms":              "James's BODY finds a word in the header of a part",
	"ValidNonAuthenticated":       "LOGIN after login: James says NO, others BAD",
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
	"FetchSingleMessage":          "Dovecot refuses FETCH 1 (ALL); a macro stands alone (RFC 9051 6.4.5)",
	"TextPartialFetch":            "Dovecot gives nothing for <0.0>, which RFC 9051 section 9 does not know",
	"ConcurrentCrossExpunge":      "Dovecot does not tell of a STORE that changes nothing",
	"ConcurrentFetchResponse":     "Dovecot tells news after some commands only",
	"ConcurrentRenameSelected":    "Dovecot ends the session when its mailbox is renamed",
	"ConcurrentRenameSelectedSub": "Dovecot ends the session when its mailbox is renamed",
	"FetchMultipartMixedComplex":  "Dovecot counts the line end before the last boundary of an inner part otherwise",
	"FetchStructureEmbedded":      "Dovecot counts the line end before the last boundary of an inner part otherwise",
	"Login":                       "Dovecot ends the connection after some wrong commands",
	"RenameSelected":              byChance + "Dovecot may end the session when its mailbox is renamed",
	"RenameInbox":                 "Dovecot does not rename INBOX",
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

// knownScripts are the scripts of imaptest that our server fails.
var knownScripts = map[string]string{}

// knownDialogues are the dialogues that our server answers otherwise.
var knownDialogues = with(map[string]string{
	"ListSubscribed":                       "wants CHILDINFO that repeats what is listed anyway; RFC 5258 3.5: servers SHOULD leave it out",
	"ListWithPercentWildcardInMailboxName": "we refuse names with wildcards, as RFC 9051 5.1 lets us",
	"PeekMultipartMixed":                   "wants the words of FLAGS in another order than most dialogues",
	"PeekMultipartMixedComplex":            "wants the words of FLAGS in another order than most dialogues",
	"SharingAccessLRI":                     "James sorts rights, we tell them in the order of RFC 4314",
	"SharingAccessLRT":                     "James does not tell the virtual right d (RFC 4314 2.1.1)",
	"SharingAccessLRTE":                    "James does not tell the virtual right d (RFC 4314 2.1.1)",
	"SharingAccessLRX":                     "James does not tell the virtual right c (RFC 4314 2.1.1)",
	"UidSearchCombinations":                "James and Dovecot find a letter in the tags of HTML; we search what people read",
	"RenameInbox":                          "James numbers INBOX anew after RENAME INBOX; ours goes on",
})
