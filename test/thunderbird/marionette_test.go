package thunderbird

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// marionette is a connection to Thunderbird's own remote control. It is used to
// see where things stand on the screen and what the windows hold; what a user
// does is done by mouse and keyboard.
type marionette struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
	id   int
}

// dialMarionette waits until Thunderbird has written the port it listens on
// into its profile, and opens a session that may look into its windows.
func dialMarionette(t testing.TB, profile string) *marionette {
	t.Helper()
	m := &marionette{t: t}
	eventually(t, start, "Thunderbird listens", func() bool {
		port, err := os.ReadFile(filepath.Join(profile, "MarionetteActivePort"))
		if err != nil {
			return false
		}
		m.conn, err = net.Dial("tcp", "127.0.0.1:"+strings.TrimSpace(string(port)))
		return err == nil
	})
	t.Cleanup(func() { m.conn.Close() })
	m.in = bufio.NewReader(m.conn)
	if _, err := m.read(); err != nil { // the greeting
		t.Fatalf("marionette: %v", err)
	}
	m.call("WebDriver:NewSession", map[string]any{"unhandledPromptBehavior": "ignore"})
	m.call("Marionette:SetContext", map[string]any{"value": "chrome"})
	return m
}

// read reads one packet: its length, a colon, JSON.
func (m *marionette) read() (json.RawMessage, error) {
	m.conn.SetDeadline(time.Now().Add(shortly))
	length, err := m.in.ReadString(':')
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(strings.TrimSuffix(length, ":"))
	if err != nil || n > 16<<20 {
		return nil, fmt.Errorf("length %q", length)
	}
	text := make([]byte, n)
	_, err = io.ReadFull(m.in, text)
	return text, err
}

func (m *marionette) call(name string, params any) json.RawMessage {
	m.t.Helper()
	m.id++
	text, err := json.Marshal([]any{0, m.id, name, params})
	if err != nil {
		m.t.Fatal(err)
	}
	fmt.Fprintf(m.conn, "%d:%s", len(text), text)
	text, err = m.read()
	if err != nil {
		m.t.Fatalf("marionette %s: %v", name, err)
	}
	var answer []json.RawMessage
	if err := json.Unmarshal(text, &answer); err != nil || len(answer) != 4 {
		m.t.Fatalf("marionette %s: %s", name, text)
	}
	if string(answer[2]) != "null" {
		m.t.Fatalf("marionette %s: %.2000s", name, answer[2])
	}
	return answer[3]
}

// prelude is known to all scripts: the window of that type, the three panes of
// the main window, and querySelector through the borders of shadow trees.
const prelude = `
const window_ = type => Services.wm.getMostRecentWindow(type);
const panes = () => window_("mail:3pane").document.getElementById("tabmail").currentAbout3Pane;
const folder = name => [...panes().folderTree.rows].find(r => r.uri && decodeURIComponent(r.uri).endsWith(".test/" + name));
const find = (root, what) => {
	const e = root.querySelector(what);
	if (e) return e;
	for (const c of root.querySelectorAll("*")) {
		const e = c.shadowRoot && find(c.shadowRoot, what);
		if (e) return e;
	}
	return null;
};
`

// eval gives the value of an expression in Thunderbird. What cannot be had yet
// (undefined, null, an exception on the way) is nil.
func (m *marionette) eval(expression string) any {
	m.t.Helper()
	script := prelude + "try { const v = (" + expression + "); return v === undefined ? null : v } catch (e) { return null }"
	var answer struct{ Value any }
	got := m.call("WebDriver:ExecuteScript", map[string]any{"script": script, "args": []any{}, "newSandbox": true})
	if err := json.Unmarshal(got, &answer); err != nil {
		m.t.Fatalf("%s: %v", expression, err)
	}
	return answer.Value
}

// number is eval for a number, -1 where there is none.
func (m *marionette) number(expression string) int {
	m.t.Helper()
	if n, ok := m.eval(expression).(float64); ok {
		return int(n)
	}
	return -1
}

// text is eval for a string.
func (m *marionette) text(expression string) string {
	m.t.Helper()
	s, _ := m.eval(expression).(string)
	return s
}

// place gives the middle of an element on the screen (of a wide one, what
// stands at its beginning), once it is there and has come to rest.
func (m *marionette) place(element string) (x, y int) {
	m.t.Helper()
	where := `(e => {
		const r = e.getBoundingClientRect(), w = e.ownerDocument.defaultView, s = w.devicePixelRatio;
		return r.width ? [(w.mozInnerScreenX + r.left + Math.min(r.width / 2, 60)) * s, (w.mozInnerScreenY + r.top + r.height / 2) * s] : null;
	})(` + element + ")"
	var last any
	eventually(m.t, shortly, "on the screen: "+element, func() bool {
		now := m.eval(where)
		still := now != nil && fmt.Sprint(now) == fmt.Sprint(last)
		last = now
		return still
	})
	at := last.([]any)
	return int(at[0].(float64)), int(at[1].(float64))
}
