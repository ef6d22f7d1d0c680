// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The pages in the tree are those that the commands have now.
func TestCurrent(t *testing.T) {
	pages, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	const dir = "../../../docs/man"
	for name, want := range pages {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Errorf("%v; run: make generate", err)
			continue
		}
		if diff := cmp.Diff(string(got), string(want)); diff != "" {
			t.Errorf("%s is not current (-is +should be); run: make generate\n%s", name, diff)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		page, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if pages[filepath.Base(file)] == nil && bytes.HasPrefix(page, []byte(comment)) {
			t.Errorf("%s is of a command that is no more; run: make generate", file)
		}
	}
}

// A page shows a default as the help does: none that is nothing.
func TestDefaults(t *testing.T) {
	pages, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	for name, page := range pages {
		for _, zero := range []string{"(default 0)", "(default 0s)", "(default [])", "(default )"} {
			if bytes.Contains(page, []byte(zero)) {
				t.Errorf("%s has %s", name, zero)
			}
		}
	}
	if want := "(default text)"; !bytes.Contains(pages["nlbench-report.1"], []byte(want)) {
		t.Errorf("nlbench-report.1 does not have %s", want)
	}
}

// A command of several says what each of them does.
func TestCommands(t *testing.T) {
	pages, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{
		"nlctl.1":        {"\n.SH COMMANDS\n", "\n\\fBdecode\\fP\nshow netlink messages of a file, byte by byte\n", "\n\\fBtrace\\fP\n"},
		"nlctl-beacon.1": {"\n.SH COMMANDS\n", "\n\\fBset\\fP\n"},
		"nllab.1":        {"\n.SH COMMANDS\n", "\n\\fBhint\\fP\n"},
	} {
		for _, want := range want {
			if n := bytes.Count(pages[name], []byte(want)); n != 1 {
				t.Errorf("%s has %q %d times", name, want, n)
			}
		}
	}
	if bytes.Contains(pages["nlecho.1"], []byte("COMMANDS\n")) {
		t.Error("nlecho.1 has commands")
	}
}

// Only what was generated before is removed.
func TestWrite(t *testing.T) {
	dir := t.TempDir()
	old, other := filepath.Join(dir, "old.1"), filepath.Join(dir, "other.1")
	for file, page := range map[string]string{old: comment, other: ".TH OTHER 1\n"} {
		if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := write(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", old, err)
	}
	if _, err := os.Stat(other); err != nil {
		t.Error(err)
	}
	for _, section := range []string{"NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "JSON", "EXAMPLE"} {
		page, err := os.ReadFile(filepath.Join(dir, "nlecho.1"))
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(page, []byte("\n.SH "+section+"\n")); n != 1 {
			t.Errorf("nlecho.1 has %d sections %s", n, section)
		}
	}
}
