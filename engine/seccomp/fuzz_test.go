//go:build linux

package seccomp

import "testing"

// FuzzProfile: any text is a filter that the kernel could take, or an error.
func FuzzProfile(f *testing.F) {
	f.Add(`{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"}]}]}`)
	f.Add(`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[null]}`)
	f.Add(`{"defaultAction":"SCMP_ACT_KILL","archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":null}],"syscalls":[{"name":"clone","action":"SCMP_ACT_ALLOW","args":[null]}]}`)
	f.Add(`{"defaultAction":"SCMP_ACT_ALLOW","flags":["x"],"syscalls":[{"names":["write"],"action":"SCMP_ACT_NOTIFY","errnoRet":70000}]}`)
	f.Add(`{}`)
	f.Add(`[]`)
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Load(text, []string{"CAP_CHOWN"})
		if err != nil {
			return
		}
		filter, err := Compile(p)
		if err == nil && (len(filter.Bytes())%8 != 0 || len(filter.Bytes()) > 8*4096) {
			t.Errorf("a filter of %d bytes", len(filter.Bytes()))
		}
	})
}
