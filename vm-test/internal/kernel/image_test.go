// SPDX-License-Identifier: MIT

package kernel

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nlpeer/vm-test/internal/cache"
)

func TestFindImage(t *testing.T) {
	seen := make(map[string]bool)
	for _, i := range Images {
		if seen[i.Name] {
			t.Errorf("two images are called %s", i.Name)
		}
		seen[i.Name] = true
		if got, err := FindImage(i.Name); err != nil || !cmp.Equal(i, got) {
			t.Errorf("FindImage(%q) = %+v, %v", i.Name, got, err)
		}
		if (len(i.Packages) > 0) != (i.Suite != "") || i.YNL && len(i.Packages) == 0 {
			t.Errorf("an image that cannot be made: %+v", i)
		}
	}
	for _, name := range []string{"", "Tools"} {
		_, err := FindImage(name)
		if !errors.Is(err, ErrUnknownImage) || !strings.Contains(err.Error(), "known are: busybox, tools") {
			t.Errorf("%q: %v, want ErrUnknownImage and the names that are known", name, err)
		}
	}
}

// An image without packages takes nothing from anywhere.
func TestImageOfBusyboxAlone(t *testing.T) {
	c, err := cache.OpenAt(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if u, err := Images[0].Get(context.Background(), c, "none", nil); err != nil || u.Root != "" {
		t.Errorf("%+v, %v", u, err)
	}
}

func TestPrune(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{
		"usr/share/doc/tool/copyright", "usr/share/man/man1/tool.1.gz", "usr/lib/x86_64-linux-gnu/gconv/UTF-7.so",
		"usr/lib/x86_64-linux-gnu/libtool.so", "usr/share/tool/doc", "usr/bin/tool",
	} {
		put(t, root, name, "")
	}
	if err := prune(root); err != nil {
		t.Fatal(err)
	}
	var left []string
	err := filepath.WalkDir(root, func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			left = append(left, strings.TrimPrefix(p, root+"/"))
		}
		return err
	})
	want := []string{"usr/bin/tool", "usr/lib/x86_64-linux-gnu/libtool.so", "usr/share/tool/doc"}
	if diff := cmp.Diff(want, left); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}
