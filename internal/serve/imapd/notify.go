package imapd

// notifyCommands are NOTIFY.
var notifyCommands = map[string]command{}
