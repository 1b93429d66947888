package main

import (
	"slices"
	"strconv"
	"strings"

	"github.com/shoal-dev/shoal/proto/api"
)

// askedMounts are what was asked for, in the fields of HostConfig where Docker has them: each mount in one of the three, so that
// who makes a container anew from them makes it the same.
func askedMounts(mounts []*api.Mount) map[string]any {
	binds, tmpfs, others := []string{}, map[string]string{}, []any{}
	for _, m := range mounts {
		switch {
		case m.Type == api.Mount_TMPFS:
			tmpfs[m.Target] = tmpfsText(m)
		case isAnonymous(m): // Config.Volumes has it
		case isBind(m):
			binds = append(binds, bindText(m))
		default:
			others = append(others, mountObject(m))
		}
	}
	return map[string]any{"Binds": binds, "Tmpfs": tmpfs, "Mounts": others}
}

// isAnonymous knows what "-v /data" makes.
func isAnonymous(m *api.Mount) bool {
	return m.Type == api.Mount_VOLUME && m.Source == "" && isPlainVolume(m) && !m.ReadOnly && !m.NoCopy
}

func isPlainVolume(m *api.Mount) bool {
	return m.Driver == "" && len(m.DriverOpts) == 0 && len(m.Labels) == 0 && m.Subpath == ""
}

// isBind knows what can be written as SOURCE:TARGET[:OPTIONS].
func isBind(m *api.Mount) bool {
	if m.Source == "" || strings.Contains(m.Source+m.Target, ":") {
		return false
	}
	if m.Type == api.Mount_VOLUME {
		return isPlainVolume(m)
	}
	return m.CreateSource && !m.NonRecursive && m.ReadOnlyRecursion == ""
}

func bindText(m *api.Mount) string {
	var options []string
	for _, o := range []struct {
		set  bool
		name string
	}{{m.ReadOnly, "ro"}, {m.NoCopy, "nocopy"}, {m.Propagation != "", m.Propagation}, {m.Relabel != "", m.Relabel}} {
		if o.set {
			options = append(options, o.name)
		}
	}
	text := m.Source + ":" + m.Target
	if len(options) > 0 {
		text += ":" + strings.Join(options, ",")
	}
	return text
}

func tmpfsText(m *api.Mount) string {
	var options []string
	if m.ReadOnly {
		options = append(options, "ro")
	}
	if m.TmpfsSizeBytes > 0 {
		options = append(options, "size="+strconv.FormatInt(m.TmpfsSizeBytes, 10))
	}
	if m.TmpfsMode != 0 {
		options = append(options, "mode="+strconv.FormatUint(uint64(m.TmpfsMode), 8))
	}
	return strings.Join(append(options, m.TmpfsOptions...), ",")
}

func mountObject(m *api.Mount) map[string]any {
	o := map[string]any{"Type": lower(m.Type), "Target": m.Target, "ReadOnly": m.ReadOnly}
	if m.Source != "" {
		o["Source"] = m.Source
	}
	if m.Type == api.Mount_BIND {
		o["BindOptions"] = map[string]any{"Propagation": m.Propagation, "NonRecursive": m.NonRecursive, "CreateMountpoint": m.CreateSource}
		return o
	}
	o["VolumeOptions"] = map[string]any{
		"NoCopy": m.NoCopy, "Labels": orEmptyMap(m.Labels), "Subpath": m.Subpath,
		"DriverConfig": map[string]any{"Name": m.Driver, "Options": orEmptyMap(m.DriverOpts)},
	}
	return o
}

// anonymousVolumes are where the container, or its image, asks for a volume without saying which; nil if nowhere.
func anonymousVolumes(k *api.Container) any {
	out := map[string]any{}
	for _, m := range k.Mounts {
		asked := slices.ContainsFunc(k.GetSpec().GetMounts(), func(a *api.Mount) bool { return a.Target == m.Destination && !isAnonymous(a) })
		if m.Type == "volume" && m.GetMount().GetSource() == "" && !asked {
			out[m.Destination] = map[string]any{}
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}
