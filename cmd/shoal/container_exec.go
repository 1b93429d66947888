package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

// execFlags are the options of exec.
type execFlags struct {
	open       api.ExecOpen
	env, files listOpt
	detachKeys string
}

func newContainerExecCommand(c *cli) *cobra.Command {
	o := execFlags{env: listOpt{check: checkEnv}}
	cmd := &cobra.Command{
		Use:   "exec [OPTIONS] CONTAINER COMMAND [ARG...]",
		Short: "Execute a command in a running container",
		Example: `  shoal exec -it web sh
  shoal exec -u 1000 -w /srv -e LANG=C web ls
  tar -C site -c . | shoal exec -i web tar -C /srv -x`,
		Args:              minArgs(2),
		ValidArgsFunction: c.completeFirst(c.runningNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.exec(cmd.Context(), &o, args)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&o.open.Detach, "detach", "d", false, "Detached mode: run command in the background")
	f.StringVar(&o.detachKeys, "detach-keys", "", "Override the key sequence for detaching a container")
	f.VarP(&o.env, "env", "e", "Set environment variables")
	f.Var(&o.files, "env-file", "Read in a file of environment variables")
	f.BoolVarP(&o.open.Stdin, "interactive", "i", false, "Keep STDIN open even if not attached")
	f.BoolVar(&o.open.Privileged, "privileged", false, "Give extended privileges to the command")
	f.BoolVarP(&o.open.Tty, "tty", "t", false, "Allocate a pseudo-TTY")
	f.StringVarP(&o.open.User, "user", "u", "", `Username or UID (format: "<name|uid>[:<group|gid>]")`)
	f.StringVarP(&o.open.Workdir, "workdir", "w", "", "Working directory inside the container")
	f.SetInterspersed(false)
	return cmd
}

func (c *cli) exec(ctx context.Context, o *execFlags, args []string) error {
	keys, err := parseDetachKeys(o.detachKeys)
	if err != nil {
		return err
	}
	open := &o.open
	open.Ref, open.Command, open.Size = args[0], args[1:], c.terminalSize()
	if open.Env, err = readEnv(o.files.values, o.env.values); err != nil {
		return err
	}
	open.Stdin = open.Stdin && !open.Detach
	if err := c.checkTTY(open.Tty, open.Stdin); err != nil {
		return err
	}
	d, err := c.client()
	if err != nil {
		return err
	}
	s, err := d.Containers.Exec(ctx)
	if err != nil {
		return err
	}
	st, err := c.newStreaming(s, &api.StreamInput{Kind: &api.StreamInput_Exec{Exec: open}},
		streamOptions{stdin: open.Stdin, tty: open.Tty, detachKeys: keys, out: c.out, err: c.err})
	if err != nil {
		return execError(err)
	}
	if open.Detach {
		return detachedError(waitStarted(s))
	}
	if !open.Tty {
		st.o.signal = func(name string) error {
			return st.send(&api.StreamInput{Kind: &api.StreamInput_Signal{Signal: name}})
		}
	}
	exit, err := st.run(ctx)
	return execError(endOfSession(exit, err))
}

// waitStarted reads until the daemon has said that the process runs, or why not.
func waitStarted(s bidi) error {
	for {
		m, err := s.Recv()
		switch {
		case isEOF(err) || err == nil && m.GetReady():
			return nil
		case err != nil:
			return err
		case m.GetExit() != nil:
			return endOfSession(m.GetExit(), nil)
		}
	}
}

// detachedError is what Docker makes of a command that cannot be started where nobody waits for its code: an error as any other.
func detachedError(err error) error {
	if exit, ok := err.(*exitError); ok && exit.err != nil {
		return exit.err
	}
	return err
}

// execError gives a command that cannot be started the codes that a shell would give.
func execError(err error) error {
	if _, ok := err.(*exitError); err == nil || ok {
		return err
	}
	if code := startCode(err); code != exitUsage {
		return &exitError{code: code, err: err}
	}
	return err
}
