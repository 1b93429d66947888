package raft

import (
	"context"
	"io"
	"log"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// logger lets raft write to slog, one level lower than it asks for: what it calls an error (a peer
// that is down, say) is daily life of a cluster. What it repeats, several times a second while a peer is down, is for
// those who debug.
type logger struct {
	to   *slog.Logger
	name string
	args []any
	said *recent
}

func newLogger(to *slog.Logger) *logger {
	return &logger{to: to, said: &recent{at: map[string]time.Time{}}}
}

// recent remembers when what was said. Messages of raft are a few dozen fixed sentences.
type recent struct {
	mu sync.Mutex
	at map[string]time.Time
}

// repeatAfter is how long a sentence is not said again.
const repeatAfter = time.Minute

// again tells whether a sentence was said a moment ago.
func (r *recent) again(msg string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if last, ok := r.at[msg]; ok && now.Sub(last) < repeatAfter {
		return true
	}
	r.at[msg] = now
	return false
}

func level(l hclog.Level) slog.Level {
	switch l {
	case hclog.Error:
		return slog.LevelWarn
	case hclog.Warn:
		return slog.LevelInfo
	default:
		return slog.LevelDebug
	}
}

func (l *logger) Log(at hclog.Level, msg string, args ...any) {
	if !l.on(at) {
		return
	}
	to := level(at)
	if to > slog.LevelDebug && l.said.again(msg, time.Now()) {
		to = slog.LevelDebug
	}
	l.to.Log(context.Background(), to, "raft: "+msg, args...)
}

func (l *logger) on(at hclog.Level) bool {
	return at > hclog.Debug && l.to.Enabled(context.Background(), level(at))
}

func (l *logger) Trace(msg string, args ...any) { l.Log(hclog.Trace, msg, args...) }
func (l *logger) Debug(msg string, args ...any) { l.Log(hclog.Debug, msg, args...) }
func (l *logger) Info(msg string, args ...any)  { l.Log(hclog.Info, msg, args...) }
func (l *logger) Warn(msg string, args ...any)  { l.Log(hclog.Warn, msg, args...) }
func (l *logger) Error(msg string, args ...any) { l.Log(hclog.Error, msg, args...) }

func (l *logger) IsTrace() bool { return l.on(hclog.Trace) }
func (l *logger) IsDebug() bool { return l.on(hclog.Debug) }
func (l *logger) IsInfo() bool  { return l.on(hclog.Info) }
func (l *logger) IsWarn() bool  { return l.on(hclog.Warn) }
func (l *logger) IsError() bool { return l.on(hclog.Error) }

func (l *logger) ImpliedArgs() []any { return l.args }

func (l *logger) With(args ...any) hclog.Logger {
	return &logger{to: l.to.With(args...), name: l.name, args: append(l.args[:len(l.args):len(l.args)], args...), said: l.said}
}

func (l *logger) Name() string { return l.name }
func (l *logger) Named(name string) hclog.Logger {
	return &logger{to: l.to, name: name, args: l.args, said: l.said}
}
func (l *logger) ResetNamed(name string) hclog.Logger { return l.Named(name) }
func (l *logger) SetLevel(hclog.Level)                {} // slog's handler decides
func (l *logger) GetLevel() hclog.Level               { return hclog.Info }

func (l *logger) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return slog.NewLogLogger(l.to.Handler(), slog.LevelDebug)
}

func (l *logger) StandardWriter(o *hclog.StandardLoggerOptions) io.Writer {
	return l.StandardLogger(o).Writer()
}
