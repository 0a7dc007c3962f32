package imapd

// searchCommands are SEARCH, SORT, THREAD.
var searchCommands = map[string]command{}
