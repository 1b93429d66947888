package raft

import (
	"context"
	"io"
	"log"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// logger lets raft write to slog, one level lower than it asks for: what it calls an error (a peer
// that is down, say) is daily life of a cluster.
type logger struct {
	to   *slog.Logger
	name string
	args []any
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
	if l.on(at) {
		l.to.Log(context.Background(), level(at), "raft: "+msg, args...)
	}
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
	return &logger{to: l.to.With(args...), name: l.name, args: append(l.args[:len(l.args):len(l.args)], args...)}
}

func (l *logger) Name() string                        { return l.name }
func (l *logger) Named(name string) hclog.Logger      { return &logger{to: l.to, name: name, args: l.args} }
func (l *logger) ResetNamed(name string) hclog.Logger { return l.Named(name) }
func (l *logger) SetLevel(hclog.Level)                {} // slog's handler decides
func (l *logger) GetLevel() hclog.Level               { return hclog.Info }

func (l *logger) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return slog.NewLogLogger(l.to.Handler(), slog.LevelDebug)
}

func (l *logger) StandardWriter(o *hclog.StandardLoggerOptions) io.Writer {
	return l.StandardLogger(o).Writer()
}
