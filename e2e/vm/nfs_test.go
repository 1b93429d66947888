//go:build linux

package vm

import (
	"testing"
	"time"
)

// nfsServer makes the machine a server of NFS 4 without exportfs and rpc.mountd: it gives the kernel the answers that they
// would give, before it asks (net/sunrpc/cache.c, fs/nfsd/export.c). /var/export is the root of what is served.
const nfsServer = `set -e
modprobe nfsd; modprobe nfsv4
mount -t nfsd nfsd /proc/fs/nfsd
mkdir -p /var/export/shared /var/recovery
chmod 777 /var/export/shared
echo /var/recovery >/proc/fs/nfsd/nfsv4recoverydir || true
echo "-2 -3 +4 +4.1 +4.2" >/proc/fs/nfsd/versions
echo "tcp 2049" >/proc/fs/nfsd/portlist
echo 2 >/proc/fs/nfsd/threads
far=2147483647 all=$((0x2000 | 0x2 | 0x400 | 0x20)) # fsid, insecure port, no subtree check, async off; root is root
echo "nfsd 127.0.0.1 $far here" >/proc/net/rpc/auth.unix.ip/channel
echo "here /var/export $far $all 65534 65534 0" >/proc/net/rpc/nfsd.export/channel
echo "here 1 \\x00000000 $far /var/export" >/proc/net/rpc/nfsd.fh/channel
echo Y >/proc/fs/nfsd/v4_end_grace
`

const nfsVolume = "shoal volume create -d local -o type=nfs -o o=addr=127.0.0.1,nfsvers=4.2"

// nfsByHand are commands of somebody whose data is on an NFS server.
var nfsByHand = []command{
	{nfsVolume + ",rw -o device=:/shared far", `^far$`},
	{"shoal run --rm -v far:/d box sh -c 'echo over the wire >/d/f'; cat /var/export/shared/f", `^over the wire$`},
	{"shoal run -d --name one -v far:/d box sleep 1000 >/dev/null; shoal run -d --name two -v far:/d:ro box sleep 1000 >/dev/null; grep -c ' nfs4 ' /proc/mounts; shoal exec one sh -c 'echo more >>/d/f'; shoal exec two cat /d/f; shoal exec two sh -c 'echo x >/d/f'", `^1\nover the wire\nmore\n.*Read-only file system$`},
	{"shoal rm -f one >/dev/null; shoal exec two cat /d/f", `^over the wire\nmore$`},
	{"kill -9 $(cat /run/daemon.pid); while kill -0 $(cat /run/daemon.pid) 2>/dev/null; do sleep 0.1; done; " + startDaemon, `^$`},
	{"shoal exec two cat /d/f; shoal rm -f two >/dev/null; grep -c ' nfs4 ' /proc/mounts", `^over the wire\nmore\n0$`},
	{"shoal run --rm --mount type=volume,source=inline,target=/d,volume-opt=type=nfs4,volume-opt=device=127.0.0.1:/shared box cat /d/f; shoal volume rm inline far; cat /var/export/shared/f", `^over the wire\nmore\ninline\nfar\nover the wire\nmore$`},
	{nfsVolume + " -o device=:/nothing gone >/dev/null; shoal run --rm -v gone:/d box true; echo $?; shoal volume rm gone", `volume gone: type nfs, device :/nothing: .*does not exist.*\n125\ngone$`},
	{"shoal volume create -o type=nfs -o o=addr=127.0.0.1,port=2050,nfsvers=4.2,soft -o device=:/shared deaf >/dev/null; shoal run --rm -v deaf:/d box true; echo $?; shoal ps -aq; shoal volume rm deaf", `(?i)deaf.*refused.*\n125\ndeaf$`},
}

// TestNFS keeps a volume on a real server of NFS, the machine's own.
func TestNFS(t *testing.T) {
	needVM(t)
	t.Parallel()
	began := time.Now()
	try(t, startHost(t, Config{Name: "nfs"}, nfsServer), nfsByHand)
	t.Logf("%d commands in %s", len(nfsByHand), time.Since(began).Round(time.Second))
}
