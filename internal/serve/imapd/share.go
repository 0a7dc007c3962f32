package imapd

// shareCommands are ACL, METADATA, QUOTA.
var shareCommands = map[string]command{
	"MYRIGHTS":     {after, (*conn).parseMyRights},
	"GETQUOTA":     {after, (*conn).parseGetQuota},
	"GETQUOTAROOT": {after, (*conn).parseGetQuotaRoot},
	"SETQUOTA":     {after, (*conn).parseSetQuota},
}
