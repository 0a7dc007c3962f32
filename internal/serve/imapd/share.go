package imapd

// shareCommands are ACL, METADATA, QUOTA.
var shareCommands = map[string]command{
	"MYRIGHTS": {after, (*conn).parseMyRights},
}
