package main

import (
	"io"
	"os"
	"path/filepath"

	"golang.org/x/term"

	"github.com/shoal-dev/shoal/client"
)

// cli is what every verb has at hand: its streams and the daemon it talks to.
type cli struct {
	in       io.Reader
	out, err io.Writer

	host   string
	tls    client.Options
	dialed *client.Client

	// releaseSignals gives SIGINT and SIGTERM back their usual meaning; verbs that pass signals on call it.
	releaseSignals func()
}

// client dials on first use, so that a wrong flag is reported before a wrong socket.
func (c *cli) client() (*client.Client, error) {
	if c.dialed != nil {
		return c.dialed, nil
	}
	d, err := client.New(c.host, c.tls)
	if err != nil {
		return nil, err
	}
	c.dialed = d
	return d, nil
}

func (c *cli) close() {
	if c.dialed != nil {
		c.dialed.Close()
	}
}

// defaultHost is SHOAL_HOST or the system's socket.
func defaultHost() string {
	if h := os.Getenv("SHOAL_HOST"); h != "" {
		return h
	}
	return client.DefaultHost
}

// configFile is a file in ~/.shoal, empty if it does not exist.
func configFile(name string) string {
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	path := filepath.Join(home, ".shoal", name)
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

// terminalOf is the file descriptor behind a stream, if that is a terminal.
func terminalOf(stream any) (fd int, ok bool) {
	if o, ok := stream.(*output); ok {
		stream = o.Writer
	}
	f, ok := stream.(*os.File)
	if !ok {
		return 0, false
	}
	return int(f.Fd()), term.IsTerminal(int(f.Fd()))
}

// width of the terminal behind a stream in columns, or the fallback.
func width(stream any, fallback int) int {
	if fd, ok := terminalOf(stream); ok {
		if w, _, err := term.GetSize(fd); err == nil && w > 20 {
			return w
		}
	}
	return fallback
}
