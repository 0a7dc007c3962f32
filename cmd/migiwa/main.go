// Command migiwa is the whole mail server: it serves, and it is the operator's
// hand on a serving node. See `migiwa --help`.
//
// Exit status: 0 on success, 1 on failure, 2 on misuse.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/migiwa/migiwa/internal/config"
	"github.com/migiwa/migiwa/internal/node"
)

// cli is the command line. Its commands stand in files of their own.
type cli struct {
	Config string `help:"Configuration file." env:"MIGIWA_CONFIG" default:"migiwa.toml" type:"path" placeholder:"FILE"`
	JSON   bool   `help:"Print JSON: one document, or one object a line for lists."`

	Quickstart quickstartCmd `cmd:"" help:"Make a new installation: configuration, certificate, keys, domain and administrator."`
	Demo       demoCmd       `cmd:"" help:"Make an installation in ./demo on high ports, serve it and show mail going through all of it."`
	Serve      serveCmd      `cmd:"" help:"Run the node in the foreground."`
	Account    accountCmd    `cmd:"" help:"Accounts: add, import, export, list, show, set, disable, enable, delete."`
	Alias      aliasCmd      `cmd:"" help:"Aliases: add, list, delete."`
	Domain     domainCmd     `cmd:"" help:"Domains: add, list, show, set, delete, dns, dkim."`
	Queue      queueCmd      `cmd:"" help:"Mail on its way to other hosts: list, show, retry, hold, release, delete."`
	Mailbox    mailboxCmd    `cmd:"" help:"Mailboxes: list, check, recount, reindex."`
	Edge       edgeCmd       `cmd:"" help:"What is known of strangers at the edge: show, top, status, forgive, replay."`
	Filter     filterCmd     `cmd:"" help:"Filters, and how far each may go: list, set, history, allow, block, forget, senders, channel, check."`
	Report     reportCmd     `cmd:"" help:"Reports on mail, of others and to others: list, sources, send."`
	Log        logCmd        `cmd:"" help:"Events of all nodes: search, top, export, verify, status, fields."`
	Trace      traceCmd      `cmd:"" help:"Tell what happened to a message, from its ID or from words such as: from taro to @example.com yesterday."`
	Settings   configCmd     `cmd:"" name:"config" help:"The configuration: check, print, doc."`
	Doctor     doctorCmd     `cmd:"" help:"Look for what keeps mail from flowing, and say how to mend it."`
	Version    versionCmd    `cmd:"" help:"Print the version."`
	Logstore   logstoreCmd   `cmd:"" hidden:"" help:"The log store, as a child of the serving process."`
}

// output is where a command prints, and how.
type output struct {
	w    io.Writer
	err  io.Writer // for what is not the answer
	json bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run executes one command line and gives the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var c cli
	done := false
	parser, err := kong.New(&c, kong.Name("migiwa"), kong.Writers(stdout, stderr), kong.UsageOnError(),
		kong.Description("A mail server in one binary that defends itself at the water's edge."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
		kong.Exit(func(int) { done = true }))
	if err != nil {
		fmt.Fprintln(stderr, "migiwa:", err)
		return 1
	}
	kctx, err := parser.Parse(args)
	if done { // --help was asked for and printed
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, "migiwa:", err)
		fmt.Fprintf(stderr, "See %s --help\n", misused(err))
		return 2
	}
	kctx.BindTo(ctx, (*context.Context)(nil))
	err = kctx.Run(&c, &output{w: stdout, err: stderr, json: c.JSON})
	var misuse misuseError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &misuse):
		fmt.Fprintln(stderr, "migiwa:", err)
		return 2
	}
	fmt.Fprintln(stderr, "migiwa:", err)
	return 1
}

// misused gives the command, as far as it was understood, whose help helps.
func misused(err error) string {
	var parse *kong.ParseError
	if errors.As(err, &parse) {
		if c := parse.Context.Command(); c != "" {
			words := strings.Fields(c)
			for i, w := range words { // the rest are arguments
				if strings.ContainsAny(w, "<[=") {
					words = words[:i]
					break
				}
			}
			return "migiwa " + strings.Join(words, " ")
		}
	}
	return "migiwa"
}

// misuseError is a command line that cannot be meant.
type misuseError string

func (e misuseError) Error() string { return string(e) }

// rooms opens the node's data for a command beside the serving process.
func (c *cli) rooms(ctx context.Context) (*node.Rooms, error) {
	cfg, err := config.Load(c.Config)
	if err != nil {
		return nil, err
	}
	return node.OpenRooms(ctx, cfg)
}
