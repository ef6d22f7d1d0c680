// SPDX-License-Identifier: MIT

package lifecycle_test

import (
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer"
	"nlpeer/vm-test/suites/vmtest"
)

// section finds a section of the module's file.
func section(t *testing.T, name string) *elf.Section {
	t.Helper()
	f, err := elf.Open(os.Getenv("NLVM_MODULE"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	s := f.Section(name)
	if s == nil {
		t.Fatalf("the module has no section %s", name)
	}
	return s
}

// What modinfo(8) shows, and modprobe(8) needs.
func TestModinfo(t *testing.T) {
	data, err := section(t, ".modinfo").Data()
	if err != nil {
		t.Fatal(err)
	}
	info := map[string][]string{}
	for s := range strings.SplitSeq(string(data), "\x00") {
		if key, value, ok := strings.Cut(s, "="); ok {
			info[key] = append(info[key], value)
		}
	}
	for key, want := range map[string]string{
		"name":    "nlpeer",
		"license": "GPL",
		"version": nlpeer.Version(),
	} {
		if got := info[key]; !slices.Equal(got, []string{want}) {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	for _, key := range []string{"author", "description"} {
		if len(info[key]) != 1 || info[key][0] == "" {
			t.Errorf("%s is %q", key, info[key])
		}
	}
	alias := slices.Sorted(slices.Values(info["alias"]))
	if want := []string{"net-pf-16-proto-16-family-nlpeer", "net-pf-16-proto-31"}; !slices.Equal(alias, want) {
		t.Errorf("aliases %q, want %q", alias, want)
	}
	types := slices.Sorted(slices.Values(info["parmtype"]))
	if want := []string{"batch:bool", "connector:bool", "groups:uint", "history:uint", "history_bytes:uint", "interval_ms:uint",
		"object_bytes:uint", "objects:uint", "protocol:uint", "rtnl:bool", "user_send:bool"}; !slices.Equal(types, want) {
		t.Errorf("parameters %q, want %q", types, want)
	}
	for _, typ := range types {
		name, _, _ := strings.Cut(typ, ":")
		if !slices.ContainsFunc(info["parm"], func(s string) bool {
			text, ok := strings.CutPrefix(s, name+":")
			return ok && strings.Contains(text, "default")
		}) {
			t.Errorf("parameter %s has no description that says its default", name)
		}
	}
}

func TestVersion(t *testing.T) {
	unloaded(t)
	insmod(t)
	b, err := os.ReadFile("/sys/module/nlpeer/version")
	if err != nil {
		t.Fatal(err)
	}
	if got := string(b); got != nlpeer.Version()+"\n" {
		t.Errorf("/sys/module/nlpeer/version is %q, want %q", got, nlpeer.Version())
	}
	parameters(t, nil)
}

// Whoever opens the raw protocol or asks for the family gets the module loaded,
// by names that it carries. Here a script stands in for modprobe(8).
func TestAutoload(t *testing.T) {
	const sysctl = "/proc/sys/kernel/modprobe"
	before, err := os.ReadFile(sysctl)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	script, log := filepath.Join(dir, "modprobe"), filepath.Join(dir, "log")
	if err := os.WriteFile(script, fmt.Appendf(nil, "#!/bin/sh\necho \"$*\" >>%s\ninsmod %s\n", log, os.Getenv("NLVM_MODULE")), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		use  func(t *testing.T)
		want string
	}{
		{"raw", func(t *testing.T) {
			vmtest.Open(t, vmtest.NetlinkTest, 0, 0).Close()
		}, "-q -- net-pf-16-proto-31\n"},
		{"genl", func(t *testing.T) {
			if errno := lookUp(t, "nlpeer"); errno != 0 {
				t.Errorf("the controller says %v", errno)
			}
		}, "-q -- net-pf-16-proto-16-family-nlpeer\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			unloaded(t)
			os.Remove(log)
			if err := os.WriteFile(sysctl, []byte(script), 0o644); err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := os.WriteFile(sysctl, before, 0o644); err != nil {
					t.Fatal(err)
				}
			}()
			tt.use(t)
			if got, err := os.ReadFile(log); string(got) != tt.want {
				t.Errorf("modprobe was called with %q, want %q (%v)", got, tt.want, err)
			}
			if !vmtest.Loaded() {
				t.Error("not loaded")
			}
		})
	}
	unloaded(t)
	if _, err := vmtest.TryOpen(vmtest.NetlinkTest, 0, 0); err != unix.EPROTONOSUPPORT {
		t.Errorf("without a modprobe: %v, want EPROTONOSUPPORT", err)
	}
}
