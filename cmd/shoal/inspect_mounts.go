package main

import (
	"slices"
	"strconv"
	"strings"

	"github.com/shoal-dev/shoal/proto/api"
)

// setMounts shows what was asked for in the fields where Docker has it: each mount in one of the three, so that who makes a container
// anew from them makes it the same.
func (o *hostConfigView) setMounts(mounts []*api.Mount) {
	o.Binds, o.Tmpfs = []string{}, map[string]string{}
	for _, m := range mounts {
		switch {
		case m.Type == api.Mount_TMPFS:
			o.Tmpfs[m.Target] = tmpfsText(m)
		case isAnonymous(m): // Config.Volumes has it
		case isBind(m):
			o.Binds = append(o.Binds, bindText(m))
		default:
			o.Mounts = append(o.Mounts, mountObject(m))
		}
	}
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

func mountObject(m *api.Mount) askedMountView {
	o := askedMountView{Type: lower(m.Type), Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly}
	if m.Type == api.Mount_BIND {
		o.BindOptions = &bindOptionsView{Propagation: m.Propagation, NonRecursive: m.NonRecursive, CreateMountpoint: m.CreateSource}
		return o
	}
	o.VolumeOptions = &volumeOptionsView{NoCopy: m.NoCopy, Labels: m.Labels, Subpath: m.Subpath}
	if m.Driver != "" || len(m.DriverOpts) > 0 {
		o.VolumeOptions.DriverConfig = &volumeDriverView{Name: m.Driver, Options: m.DriverOpts}
	}
	return o
}

// anonymousVolumes are where the container, or its image, asks for a volume without saying which; nil if nowhere.
func anonymousVolumes(k *api.Container) map[string]struct{} {
	var at []string
	for _, m := range k.Mounts {
		asked := slices.ContainsFunc(k.GetSpec().GetMounts(), func(a *api.Mount) bool { return a.Target == m.Destination && !isAnonymous(a) })
		if m.Type == "volume" && m.GetMount().GetSource() == "" && !asked {
			at = append(at, m.Destination)
		}
	}
	return setOf(at)
}

// setOf is a set as Docker writes one: {"80/tcp": {}}; nil if it is empty.
func setOf(names []string) map[string]struct{} {
	if len(names) == 0 {
		return nil
	}
	out := map[string]struct{}{}
	for _, n := range names {
		out[n] = struct{}{}
	}
	return out
}
