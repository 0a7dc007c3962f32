package imapd

// folderCommands are LIST, STATUS, CREATE and their kind.
var folderCommands = map[string]command{}
