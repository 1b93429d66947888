package main

import (
	"errors"

	"github.com/spf13/pflag"
)

// refusedOpt is a flag of Docker's that says why it is not there. It is in no help text.
type refusedOpt struct {
	why    string
	except string // the value that asks for what is the case anyway
}

func (r *refusedOpt) String() string { return "" }
func (r *refusedOpt) Type() string   { return "string" }
func (r *refusedOpt) Set(s string) error {
	if s != "" && s == r.except {
		return nil
	}
	return errors.New(r.why)
}

// refuse adds such flags, bare ones take no value. Who types one is told more than that it is unknown.
func refuse(f *pflag.FlagSet, bare bool, why string, names ...string) {
	for _, name := range names {
		f.Var(&refusedOpt{why: why}, name, why)
		flag := f.Lookup(name)
		flag.Hidden = true
		if bare {
			flag.NoOptDefVal = "true"
		}
	}
}

// except has such a flag take the value that changes nothing: scripts that were written for every host give it.
func except(f *pflag.FlagSet, name, value string) {
	f.Lookup(name).Value.(*refusedOpt).except = value
}

const noKernelMemory = "the kernel has no limit of its own for kernel memory any more: --memory counts it, too"

// refuseRunFlags adds those of run and create.
func refuseRunFlags(f *pflag.FlagSet) {
	refuse(f, false, "devices of a kind are given by their CDI names: --device nvidia.com/gpu=all", "gpus")
	refuse(f, false, noKernelMemory, "kernel-memory")
	refuse(f, false, "a size for one container's files needs project quotas, which are not supported: give it a volume with a size (--mount type=tmpfs,tmpfs-size=, volume create --opt)", "storage-opt")
	refuse(f, false, "this is for Windows containers only", "cpu-count", "cpu-percent", "io-maxbandwidth", "io-maxiops")
	refuse(f, false, "this is for Windows containers only: on Linux all containers are isolated by namespaces", "isolation")
	except(f, "isolation", "default")
	refuse(f, true, "content trust (Notary) is not supported: give the image by digest, NAME@sha256:...", "disable-content-trust")
	except(f, "disable-content-trust", "true")
	refuse(f, true, "there is no API socket of Docker's to give to a container", "use-api-socket")
}
