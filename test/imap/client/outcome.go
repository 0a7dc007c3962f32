package client

import (
	"fmt"
	"strings"
)

// Account is a user of a server.
type Account struct {
	User, Password string
}

// Failure is what went otherwise than a test of others wants.
type Failure struct {
	Line          int    // of the test's file
	Command       string // as it was sent
	Expected, Got string
}

func (f *Failure) Error() string {
	return fmt.Sprintf("line %d: %s: expected %s, got %s", f.Line, f.Command, f.Expected, f.Got)
}

// MissingError is returned for a test that wants capabilities which the server
// does not have.
type MissingError struct{ Capabilities []string }

func (e *MissingError) Error() string {
	return "the server has no " + strings.Join(e.Capabilities, ", ")
}

// Capabilities asks for the server's capabilities, in capitals.
func (c *Conn) Capabilities() (map[string]bool, error) {
	all, err := c.OK("CAPABILITY")
	if err != nil {
		return nil, err
	}
	has := map[string]bool{}
	for _, r := range all {
		if r.Name() == "CAPABILITY" {
			for _, v := range r.Values[1:] {
				has[strings.ToUpper(v.Text)] = true
			}
		}
	}
	return has, nil
}
