//go:build linux

package main

import (
	"syscall"
	"unicode/utf8"
)

// maxLine is the length at which a line is split; a part has no newline at its end.
const maxLine = 16 << 10

// logFile is the container's log: one JSON object a line, rotated by size.
type logFile struct {
	path  string
	attrs string // a field of each line, with its comma
	fd    int
	max   int64
	files int
	size  int64
	buf   []byte // encoded lines not yet written
}

// output is one stream of the container on its way to the log and to attached clients.
type output struct {
	fd     int
	stream string
	part   []byte // an unfinished line
}

func (l *logFile) open() syscall.Errno {
	if l.path == "" {
		return 0
	}
	fd, e := open(l.path, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_APPEND, 0o640)
	if e != 0 {
		return e
	}
	var st syscall.Stat_t
	if syscall.Fstat(fd, &st) == nil {
		l.size = st.Size
	}
	l.fd = fd
	return 0
}

// add takes a chunk of output, emits the complete lines in it and keeps the rest.
func (l *logFile) add(o *output, data []byte, at int64) {
	if l.path == "" {
		return
	}
	for len(data) > 0 {
		n := 0
		for n < len(data) && data[n] != '\n' {
			n++
		}
		full := n < len(data)
		if full {
			n++
		}
		if room := maxLine - len(o.part); n > room {
			n, full = room, true
		}
		switch {
		case !full:
			o.part = append(o.part, data[:n]...)
		case len(o.part) > 0:
			o.part = append(o.part, data[:n]...)
			l.line(o.part, o.stream, at)
			o.part = o.part[:0]
		default:
			l.line(data[:n], o.stream, at)
		}
		data = data[n:]
	}
	l.flush()
}

// end writes an unfinished last line.
func (l *logFile) end(o *output) {
	if len(o.part) > 0 && l.path != "" {
		l.line(o.part, o.stream, now())
		o.part = o.part[:0]
		l.flush()
	}
}

func (l *logFile) line(text []byte, stream string, at int64) {
	b := append(l.buf, `{"log":"`...)
	b = appendJSON(b, text)
	b = append(b, `","stream":"`...)
	b = append(b, stream...)
	b = append(b, `",`...)
	b = append(b, l.attrs...)
	b = append(b, `"time":"`...)
	b = appendTime(b, at)
	b = append(b, "\"}\n"...)
	l.buf = b
	if len(l.buf) > maxLine || (l.max > 0 && l.size+int64(len(l.buf)) >= l.max) {
		l.flush()
	}
}

// flush writes what is encoded and rotates. A log that cannot be written loses
// lines; it must never stop the container.
func (l *logFile) flush() {
	if len(l.buf) == 0 {
		return
	}
	if l.fd < 0 {
		l.open()
	}
	if l.fd >= 0 {
		if writeAll(l.fd, l.buf) == 0 {
			l.size += int64(len(l.buf))
		} else { // no half line stays, which the next one would be joined to
			syscall.RawSyscall(syscall.SYS_FTRUNCATE, uintptr(l.fd), uintptr(l.size), 0)
		}
	}
	l.buf = l.buf[:0]
	if l.max > 0 && l.size >= l.max {
		l.rotate()
	}
}

func (l *logFile) rotate() {
	lock, busy := l.lock()
	if busy {
		return
	}
	defer closeFD(&lock)
	closeFD(&l.fd)
	if l.files <= 1 {
		fd, e := open(l.path, syscall.O_WRONLY|syscall.O_TRUNC, 0)
		if e == 0 {
			closeFD(&fd)
		}
	}
	for i := l.files - 1; i >= 1; i-- {
		from := l.path
		if i > 1 {
			from += "." + itoa(int64(i-1))
		}
		rename(from, l.path+"."+itoa(int64(i)))
	}
	l.size = 0
	l.open()
}

// lock keeps the daemon from putting compressed files in the place of others while they are renamed. A lock that the
// daemon has is not waited for: the log grows a little longer than it should.
func (l *logFile) lock() (fd int, busy bool) {
	end := len(l.path)
	for end > 0 && l.path[end-1] != '/' {
		end--
	}
	fd, e := open(l.path[:end], syscall.O_RDONLY|syscall.O_DIRECTORY, 0)
	if e != 0 {
		return noFD, false
	}
	if _, _, e = syscall.Syscall(syscall.SYS_FLOCK, uintptr(fd), syscall.LOCK_EX|syscall.LOCK_NB, 0); e == syscall.EWOULDBLOCK {
		closeFD(&fd)
		return noFD, true
	}
	return fd, false
}

const hex = "0123456789abcdef"

// appendJSON appends the inside of a JSON string. What is not UTF-8 becomes U+FFFD.
func appendJSON(b, text []byte) []byte {
	start := 0
	for i := 0; i < len(text); {
		c := text[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRune(text[i:])
			if r != utf8.RuneError || n > 1 {
				i += n
				continue
			}
		}
		b = append(b, text[start:i]...)
		switch {
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\r':
			b = append(b, `\r`...)
		case c == '\t':
			b = append(b, `\t`...)
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c >= utf8.RuneSelf:
			b = append(b, "\\ufffd"...)
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		start = i
	}
	return append(b, text[start:]...)
}

// appendTime appends RFC 3339 with nanoseconds, in UTC.
func appendTime(b []byte, ns int64) []byte {
	sec, frac := ns/1e9, ns%1e9
	y, m, d := civil(sec / 86400)
	rest := sec % 86400
	b = digits(b, y, 4)
	b = digits(append(b, '-'), m, 2)
	b = digits(append(b, '-'), d, 2)
	b = digits(append(b, 'T'), rest/3600, 2)
	b = digits(append(b, ':'), rest/60%60, 2)
	b = digits(append(b, ':'), rest%60, 2)
	b = digits(append(b, '.'), frac, 9)
	return append(b, 'Z')
}

func digits(b []byte, n int64, width int) []byte {
	at := len(b)
	for range width {
		b = append(b, '0')
	}
	for i := at + width - 1; i >= at; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
	return b
}

// civil turns days since 1970 into a date. Years are counted from March, so that
// the leap day is a year's last, in eras of 400 years that all have 146097 days.
func civil(days int64) (year, month, day int64) {
	days += 719468 // from 0000-03-01
	era := days / 146097
	doe := days % 146097
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	day = doy - (153*mp+2)/5 + 1
	month = mp + 3
	if month > 12 {
		month -= 12
	}
	year = yoe + era*400
	if month <= 2 {
		year++
	}
	return year, month, day
}
