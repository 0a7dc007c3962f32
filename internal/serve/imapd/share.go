package imapd

// shareCommands are ACL, METADATA, QUOTA.
var shareCommands = map[string]command{
	"MYRIGHTS":     {after, (*conn).parseMyRights},
	"LISTRIGHTS":   {after, (*conn).parseListRights},
	"GETACL":       {after, (*conn).parseGetACL},
	"SETACL":       {after, (*conn).parseSetACL},
	"DELETEACL":    {after, (*conn).parseDeleteACL},
	"GETMETADATA":  {after, (*conn).parseGetMetadata},
	"SETMETADATA":  {after, (*conn).parseSetMetadata},
	"GETQUOTA":     {after, (*conn).parseGetQuota},
	"GETQUOTAROOT": {after, (*conn).parseGetQuotaRoot},
	"SETQUOTA":     {after, (*conn).parseSetQuota},
}
