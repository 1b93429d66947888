package main

import (
	"encoding/json"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// fields is a message as inspect shows it. Templates see every field; JSON leaves out those that say nothing.
type fields map[string]any

// messageFields turns a message into fields with Docker's spelling: NanoCpus is NanoCPUs, times are
// RFC 3339, durations nanoseconds, enums lower-case words.
func messageFields(m proto.Message) fields {
	r := m.ProtoReflect()
	out := fields{}
	descs := r.Descriptor().Fields()
	for i := range descs.Len() {
		d := descs.Get(i)
		out[pascal(string(d.Name()))] = fieldValue(d, r.Get(d), r.Has(d))
	}
	return out
}

func fieldValue(d protoreflect.FieldDescriptor, v protoreflect.Value, has bool) any {
	switch {
	case d.IsMap():
		m := map[string]string{}
		v.Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
			m[k.String()] = v.String()
			return true
		})
		return m
	case d.IsList():
		list := make([]any, v.List().Len())
		for i := range list {
			list[i] = oneValue(d, v.List().Get(i))
		}
		return list
	case d.HasPresence() && !has && d.Message() == nil:
		return nil
	}
	return oneValue(d, v)
}

func oneValue(d protoreflect.FieldDescriptor, v protoreflect.Value) any {
	switch d.Kind() {
	case protoreflect.MessageKind:
		return messageValue(v.Message().Interface())
	case protoreflect.EnumKind:
		return lower(enumName(d.Enum().Values().ByNumber(v.Enum()).Name()))
	case protoreflect.BytesKind:
		return string(v.Bytes())
	}
	return v.Interface()
}

func messageValue(m proto.Message) any {
	switch m := m.(type) {
	case *timestamppb.Timestamp:
		return rfc3339(m)
	case *durationpb.Duration:
		return int64(m.AsDuration())
	}
	if !m.ProtoReflect().IsValid() {
		return unsetFields(m.ProtoReflect().Descriptor())
	}
	return messageFields(m)
}

// unsetFields stand for a message that is not there: templates find every field, none says anything.
func unsetFields(d protoreflect.MessageDescriptor) fields {
	out := fields{}
	for i := range d.Fields().Len() {
		out[pascal(string(d.Fields().Get(i).Name()))] = ""
	}
	return out
}

// enumName lets lower read the name of an enum's value.
type enumName protoreflect.Name

func (n enumName) String() string { return string(n) }

var initials = map[string]string{
	"id": "ID", "ip": "IP", "ip6": "IP6", "ips": "IPs", "ca": "CA", "vni": "VNI", "cpus": "CPUs", "dns": "DNS",
	"ipv6": "IPv6", "ula": "ULA", "ipam": "IPAM", "tty": "TTY", "os": "OS", "oom": "OOM",
}

func pascal(snake string) string {
	var b strings.Builder
	for _, word := range strings.Split(snake, "_") {
		if up, ok := initials[word]; ok {
			b.WriteString(up)
		} else {
			b.WriteString(strings.ToUpper(word[:1]) + word[1:])
		}
	}
	return b.String()
}

// MarshalJSON leaves out fields that say nothing.
func (f fields) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]any(f.pruned()))
}

func (f fields) pruned() fields {
	out := fields{}
	for k, v := range f {
		if sub, ok := v.(fields); ok {
			v = sub.pruned()
		}
		if !empty(v) {
			out[k] = v
		}
	}
	return out
}

func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == "" || v == "0001-01-01T00:00:00Z"
	case bool:
		return !v
	case int32:
		return v == 0
	case int64:
		return v == 0
	case uint32:
		return v == 0
	case uint64:
		return v == 0
	case float32:
		return v == 0
	case float64:
		return v == 0
	case []any:
		return len(v) == 0
	case map[string]string:
		return len(v) == 0
	case fields:
		return len(v) == 0
	}
	return false
}
