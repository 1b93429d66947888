//go:build linux

package execfirst

// defaultSocket is where client.DefaultHost points to.
const defaultSocket = "/run/shoal/shoal.sock"

// Request reads a command line, without the program's name. It gives the daemon's socket, the message that opens the
// session and whether standard input goes with it. Not ok: it is no exec, or has something that only the whole program
// understands, or is wrong, which the whole program says.
func Request(args []string, host string) (r Open, ok bool) {
	args, host, ok = cutHost(args, host)
	if !ok {
		return r, false
	}
	if len(args) > 0 && args[0] == "container" {
		args = args[1:]
	}
	if len(args) == 0 || args[0] != "exec" {
		return r, false
	}
	if r.Socket, ok = socketOf(host); !ok {
		return r, false
	}
	args, ok = r.options(args[1:])
	if !ok || len(args) < 2 || args[0] == "" {
		return r, false
	}
	r.ref, r.command = args[0], args[1:]
	return r, true
}

// Open is what a command line asks for.
type Open struct {
	Socket        string
	Stdin         bool
	ref           string
	command, env  []string
	workdir, user string
}

// cutHost takes the options that stand before the verb: none, or the daemon's address.
func cutHost(args []string, host string) (rest []string, h string, ok bool) {
	if len(args) < 2 || !hasPrefix(args[0], "-") {
		return args, host, true
	}
	if value, ok := cutPrefix(args[0], "--host="); ok {
		return args[1:], value, true
	}
	if args[0] == "-H" || args[0] == "--host" {
		return args[2:], args[1], true
	}
	return nil, "", false
}

// socketOf is the path of a daemon's socket on this machine.
func socketOf(host string) (path string, ok bool) {
	if host == "" {
		return defaultSocket, true
	}
	path, ok = cutPrefix(host, "unix://")
	return path, ok && hasPrefix(path, "/")
}

// options reads what stands between the verb and the container.
func (r *Open) options(args []string) (rest []string, ok bool) {
	for len(args) > 0 && hasPrefix(args[0], "-") {
		name, value, given := cut(args[0])
		args = args[1:]
		if name == "-i" || name == "--interactive" {
			if given {
				return nil, false
			}
			r.Stdin = true
			continue
		}
		if given && !hasPrefix(name, "--") {
			return nil, false // -e=A=B means what the flags' library makes of it
		}
		if !given {
			if len(args) == 0 {
				return nil, false
			}
			value, args = args[0], args[1:]
		}
		switch name {
		case "-e", "--env":
			if key, _, found := cut(value); !found || key == "" {
				return nil, false // the value is this program's own
			}
			r.env = append(r.env, value)
		case "-w", "--workdir":
			r.workdir = value
		case "-u", "--user":
			r.user = value
		default:
			return nil, false
		}
	}
	return args, true
}
