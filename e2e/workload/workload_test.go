//go:build linux

// Package workload runs what people run: nginx and PostgreSQL, as Debian ships them, in images made from debootstrap's root
// file system, with volumes, limits and health checks. `make workload` runs it; it needs root, debootstrap and Debian's mirror.
package workload

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shoal-dev/shoal/e2e/hosts"
	"github.com/shoal-dev/shoal/e2e/hosts/hoststest"
)

func TestNginxAndPostgres(t *testing.T) {
	if os.Getenv("SHOAL_WORKLOAD") == "" {
		t.Skip("SKIPPED: needs root, debootstrap and a Debian mirror: run it with `make workload`")
	}
	l := hoststest.Lab(t, "../../bin/shoal", 1)
	h := l.Hosts[0]
	load(t, h, rootfs(t))
	t.Run("nginx", func(t *testing.T) { nginx(t, l, h) })
	t.Run("postgres", func(t *testing.T) { postgres(t, h) })
}

// rootfs is a small Debian with both servers. It is kept for the next run.
func rootfs(t *testing.T) string {
	t.Helper()
	dir := "/var/tmp/shoal-workload-bookworm"
	if _, err := os.Stat(dir + "/complete"); err == nil {
		return dir
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "debootstrap", "--variant=minbase", "--include=nginx-light,postgresql", "bookworm", dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("debootstrap: %v: %s", err, out[max(0, len(out)-1000):])
	}
	if err := os.WriteFile(dir+"/complete", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func load(t *testing.T, h *hosts.Host, dir string) {
	t.Helper()
	tar := exec.CommandContext(t.Context(), "tar", "-C", dir, "--exclude=./dev/*", "--exclude=./var/cache/apt/*", "--numeric-owner", "-c", ".")
	out, err := tar.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := tar.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := h.CLIWith(t.Context(), out, "image", "import", "-", "debian:servers"); err != nil {
		t.Fatal(err)
	}
	if err := tar.Wait(); err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, h *hosts.Host, args ...string) string {
	t.Helper()
	return strings.TrimSpace(hoststest.Run(t, h, args...))
}

// healthy waits until a container's own check says so.
func healthy(t *testing.T, h *hosts.Host, name string) {
	t.Helper()
	_, err := hosts.Until(t.Context(), time.Minute, func() error {
		status := run(t, h, "ps", "-a", "--filter", "name="+name, "--format", "{{.Status}}")
		if !strings.Contains(status, "(healthy)") {
			return errors.New(status)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, run(t, h, "logs", name))
	}
}

// replace kills the daemon, starts it again and removes the container: only its volume is left.
func replace(t *testing.T, h *hosts.Host, name string) {
	t.Helper()
	if err := h.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	healthy(t, h, name)
	run(t, h, "stop", name)
	if got := run(t, h, "inspect", "-f", "{{.State.ExitCode}} {{.State.OOMKilled}}", name); got != "0 false" {
		t.Errorf("%s ended with %s, want 0 false\n%s", name, got, run(t, h, "logs", "--tail", "20", name))
	}
	run(t, h, "rm", name)
}

func nginx(t *testing.T, l *hosts.Lab, h *hosts.Host) {
	start := func() {
		run(t, h, "run", "-d", "--name", "web", "-p", "8080:80", "-v", "html:/var/www/html", "-m", "128m", "--cpus", "1", "--pids-limit", "50",
			"--stop-signal", "QUIT", "--health-cmd", "bash -c 'exec 3<>/dev/tcp/127.0.0.1/80'", "--health-interval", "200ms",
			"--health-start-period", "20s", "--health-start-interval", "200ms", "--restart", "unless-stopped", "debian:servers", "nginx", "-g", "daemon off;")
		healthy(t, h, "web")
	}
	start()
	url := fmt.Sprintf("http://%s:8080/", h.Addr)
	if page, err := l.Client.Get(t.Context(), url, 2*time.Second); err != nil || !strings.Contains(page, "nginx") {
		t.Errorf("the page that the image brings: %q, %v", page, err)
	}
	run(t, h, "exec", "web", "sh", "-c", "echo my page > /var/www/html/index.html")
	replace(t, h, "web")
	start()
	if page, err := l.Client.Get(t.Context(), url, 2*time.Second); err != nil || page != "my page\n" {
		t.Errorf("after the container was replaced: %q, %v", page, err)
	}
	if log := run(t, h, "exec", "web", "tail", "-1", "/var/log/nginx/access.log"); !strings.HasPrefix(log, l.Client.Addr.String()+" ") {
		t.Errorf("nginx saw %q, want the client's address %s", log, l.Client.Addr)
	}
	run(t, h, "rm", "-f", "web")
}

// serve initializes the database in an empty volume, then serves.
const serve = `bin=$(ls -d /usr/lib/postgresql/*/bin); data=/var/lib/postgresql/data
test -s $data/PG_VERSION || $bin/initdb -D $data -A trust >/dev/null
exec $bin/postgres -D $data -c listen_addresses='*' -c unix_socket_directories=/tmp`

func postgres(t *testing.T, h *hosts.Host) {
	start := func() {
		run(t, h, "run", "-d", "--name", "db", "--user", "postgres", "-v", "pg:/var/lib/postgresql", "-m", "256m", "--shm-size", "64m",
			"--stop-signal", "INT", "--health-cmd", "pg_isready -h /tmp", "--health-interval", "200ms", "--health-start-period", "30s",
			"--health-start-interval", "200ms", "--stop-timeout", "30", "debian:servers", "sh", "-c", serve)
		healthy(t, h, "db")
	}
	sql := func(query string) string {
		return run(t, h, "exec", "db", "psql", "-h", "/tmp", "-At", "-c", query, "postgres")
	}
	start()
	sql("create table fish (name text); insert into fish select 'herring ' || n from generate_series(1, 10000) n")
	replace(t, h, "db")
	start()
	if got := sql("select count(*), max(name) from fish"); got != "10000|herring 9999" {
		t.Errorf("after the container was replaced the table holds %q", got)
	}
	run(t, h, "rm", "-f", "db")
	start() // after SIGKILL it recovers from its log
	if got := sql("select count(*) from fish"); got != "10000" {
		t.Errorf("after SIGKILL the table holds %q", got)
	}
	run(t, h, "rm", "-f", "db")
}
