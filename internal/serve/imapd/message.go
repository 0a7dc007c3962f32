package imapd

// messageCommands are FETCH, STORE, COPY, APPEND and their kind.
var messageCommands = map[string]command{}
