package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestIDFileOfNothing: no file is left where no container came to be.
func TestIDFileOfNothing(t *testing.T) {
	f := newFake(t)
	f.containers.missing = true
	path := filepath.Join(t.TempDir(), "id")
	if r := f.run(t, "", "create", "--pull", "never", "--cidfile", path, "x"); r.code == 0 {
		t.Fatalf("created: %+v", r)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the file is there: %v", err)
	}
}

// TestOtherPlatform pulls an image that is here for another platform.
func TestOtherPlatform(t *testing.T) {
	f := newFake(t)
	populate(f)
	f.run(t, "", "create", "--platform", "linux/amd64", "web:1")
	if f.images.pulled != nil {
		t.Errorf("pulled what is there: %v", f.images.pulled)
	}
	f.run(t, "", "create", "--platform", "linux/arm64", "web:1")
	if f.images.pulled.GetPlatform().GetArchitecture() != "arm64" {
		t.Errorf("pulled %v", f.images.pulled)
	}
}
