//go:build linux

package engine

import (
	"slices"
	"testing"
)

// TestGroupsOnce: a group that a user has by the image and is given again is one group.
func TestGroupsOnce(t *testing.T) {
	accounts := []account{{name: "www", uid: 33, gid: 33}}
	groups := []group{{name: "www", gid: 33}, {name: "extra", gid: 77, members: []string{"www"}}}
	u, err := resolveUser("www", []string{"77", "extra", "5"}, accounts, groups)
	if want := []uint32{33, 77, 5}; err != nil || !slices.Equal(u.Groups, want) {
		t.Errorf("groups %v, %v, want %v", u.Groups, err, want)
	}
}
