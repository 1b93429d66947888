//go:build linux

package ps

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// View is what ps is asked to show: columns, and in which order the processes.
type View struct {
	Columns []Column
	sort    []sortKey
}

type sortKey struct {
	column     Column
	descending bool
}

// sets are the columns of ps's options, by their letters; those after a blank are of the options that begin without a stroke.
var sets = map[string]string{
	"":   "pid -tty time -comm",
	"f":  "-uid pid ppid c stime -tty time -cmd",
	"F":  "-uid pid ppid c sz rss psr stime -tty time -cmd",
	"l":  "f s uid pid ppid c opri nice -addr sz -wchan -tty time -comm",
	"fl": "f s -uid pid ppid c opri nice -addr sz -wchan stime -tty time -cmd",
	"j":  "pid pgid sid -tty time -comm",
	" ":  "pid -tty stat -time args",
	" u": "user pid pcpu pmem vsz rss -tty stat -start -time args",
	" l": "f uid pid ppid -priority nice vsz rss -wchan stat -tty -time args",
	" j": "ppid pid pgid sid -tty tpgid stat uid -time args",
}

// options are ps's arguments as far as they were read.
type options struct {
	letters string // of the form: f, F, l, j, u
	bsd     bool
	names   []string
	sort    []string
}

// Parse reads the arguments of ps: which columns (-f, -F, -l, -j, aux, ax, -o with names and titles) and --sort. None is -ef. Options that
// choose among all processes (-e, -A, -a, -d) change nothing, since all of a container's are shown; those that would leave some out are refused.
func Parse(args []string) (*View, error) {
	if len(args) == 0 {
		args = []string{"-ef"}
	}
	var o options
	for len(args) > 0 {
		rest, err := o.take(args[0], args[1:])
		if err != nil {
			return nil, err
		}
		args = rest
	}
	return o.view()
}

// take reads one argument and gives back those that remain.
func (o *options) take(arg string, rest []string) ([]string, error) {
	name, value, hasValue := strings.Cut(arg, "=")
	switch {
	case name == "--sort" || name == "--format":
		if !hasValue {
			if len(rest) == 0 {
				return nil, fmt.Errorf("ps option %s needs the names of columns", name)
			}
			value, rest = rest[0], rest[1:]
		}
		if name == "--sort" {
			o.sort = append(o.sort, strings.Split(value, ",")...)
		} else {
			o.names = append(o.names, strings.Split(value, ",")...)
		}
		return rest, nil
	case strings.HasPrefix(arg, "--"):
		return nil, refused(arg)
	}
	letters, unix := strings.CutPrefix(arg, "-")
	if letters == "" {
		return nil, refused(arg)
	}
	if unix && strings.Contains(letters, "u") && strings.ContainsAny(letters, "ax") && strings.Trim(letters, "auxw") == "" {
		unix = false // -aux: the user x is not meant, says ps as well
	}
	return o.takeLetters(arg, letters, unix, rest)
}

func (o *options) takeLetters(arg, letters string, unix bool, rest []string) ([]string, error) {
	all, form := "eAadw", "fFlj"
	if !unix {
		all, form = "axgw", "ulj"
		o.bsd = true
	}
	for i, c := range letters {
		switch {
		case c == 'o' || c == 'k' && !unix:
			value := letters[i+1:]
			if value == "" {
				if len(rest) == 0 {
					return nil, fmt.Errorf("ps option %s needs the names of columns", arg)
				}
				value, rest = rest[0], rest[1:]
			}
			if c == 'k' {
				o.sort = append(o.sort, strings.Split(value, ",")...)
			} else {
				o.names = append(o.names, strings.Split(value, ",")...)
			}
			return rest, nil
		case strings.ContainsRune(form, c):
			o.letters += string(c)
		case arg == "ef" || arg == "f": // as before this read BSD's options
			o.bsd, o.letters = false, "f"
		case !strings.ContainsRune(all, c):
			return nil, refused(arg)
		}
	}
	return rest, nil
}

func refused(arg string) error {
	return fmt.Errorf("ps option %q is not supported: use -ef, -F, -l, -j, aux, ax, -o followed by names of columns, --sort", arg)
}

func (o *options) view() (*View, error) {
	names := o.names
	if len(names) == 0 {
		set, err := o.set()
		if err != nil {
			return nil, err
		}
		names = strings.Fields(set)
	}
	v := &View{}
	for _, n := range names {
		c, err := named(n, len(o.names) == 0)
		if err != nil {
			return nil, err
		}
		v.Columns = append(v.Columns, c)
	}
	for _, key := range o.sort {
		name, descending := strings.CutPrefix(key, "-")
		c, err := named(strings.TrimPrefix(name, "+"), false)
		if err != nil {
			return nil, err
		}
		v.sort = append(v.sort, sortKey{c, descending})
	}
	return v, nil
}

func (o *options) set() (string, error) {
	letters := []rune(o.letters)
	slices.Sort(letters)
	key := string(slices.Compact(letters))
	if o.bsd {
		key = " " + key
	}
	set, ok := sets[key]
	if !ok {
		return "", errors.New("ps options that ask for several forms at once: use one of -f, -F, -l, -fl, -j, u, l, j")
	}
	return set, nil
}

// named reads NAME[:WIDTH][=TITLE]. How wide the column is says its content. inner names are those of the sets.
func named(s string, inner bool) (Column, error) {
	name, title, hasTitle := strings.Cut(s, "=")
	name, _, _ = strings.Cut(strings.ToLower(name), ":")
	synonym, ok := synonyms[name]
	key := name
	if ok {
		key = synonym.name
	}
	c, ok := columns[key]
	if !ok || strings.HasPrefix(name, "-") && !inner {
		return c, fmt.Errorf("ps column %q is not supported: use one of %s", s, columnNames())
	}
	if synonym.title != "" {
		c.Title = synonym.title
	}
	if hasTitle {
		c.Title = title
	}
	return c, nil
}

func columnNames() string {
	var names []string
	for n := range columns {
		if n[0] != '-' {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// Sort orders processes as --sort asks.
func (v *View) Sort(processes []*Process, m Machine) {
	slices.SortStableFunc(processes, func(a, b *Process) int {
		for _, k := range v.sort {
			order := compareCells(k.column.Value(a, m), k.column.Value(b, m))
			if k.descending {
				order = -order
			}
			if order != 0 {
				return order
			}
		}
		return 0
	})
}

func compareCells(a, b string) int {
	x, err1 := strconv.ParseFloat(a, 64)
	y, err2 := strconv.ParseFloat(b, 64)
	if err1 == nil && err2 == nil {
		return cmp.Compare(x, y)
	}
	return cmp.Compare(a, b)
}
