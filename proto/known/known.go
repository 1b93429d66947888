// Package known tells whether a message asks for something that this version does not know.
//
// Protocol buffers let an older program read what a newer one has written, and pass over the rest. For what is kept and handed on that is
// right. A request is different: nothing that somebody asks for is ignored.
package known

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Missing names the first field of a message, or of one inside it, that this version does not know; "" if it knows all.
func Missing(m proto.Message) string {
	if m == nil {
		return ""
	}
	return missing(m.ProtoReflect())
}

func missing(m protoreflect.Message) (field string) {
	if raw := m.GetUnknown(); len(raw) > 0 {
		number, _, _ := protowire.ConsumeTag(raw)
		return fmt.Sprintf("field %d of %s", number, m.Descriptor().Name())
	}
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		field = below(fd, v)
		return field == ""
	})
	return field
}

// below looks into the messages that a field holds.
func below(fd protoreflect.FieldDescriptor, v protoreflect.Value) (field string) {
	switch {
	case fd.IsMap():
		if fd.MapValue().Message() == nil {
			return ""
		}
		v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
			field = missing(v.Message())
			return field == ""
		})
	case fd.Message() == nil:
	case fd.IsList():
		for i := range v.List().Len() {
			if field = missing(v.List().Get(i).Message()); field != "" {
				return field
			}
		}
	default:
		return missing(v.Message())
	}
	return field
}
