// SPDX-License-Identifier: MIT

package cli_test

import (
	"os"
	"path/filepath"
	"testing"

	"nlpeer/cmd/internal/cli"
)

func TestOpenNetNS(t *testing.T) {
	empty, dir := t.TempDir(), t.TempDir()
	for _, name := range []string{"red", "blue"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct{ dir, name, want string }{
		{dir, "red", ""},
		{empty, filepath.Join(dir, "red"), ""},
		{dir, "green", `there is no network namespace "green" in ` + dir + `; there are: blue, red`},
		{empty, "green", `there is no network namespace "green": ` + empty + ` is empty; try: sudo ip netns add green`},
		{filepath.Join(empty, "missing"), "green", `there is no network namespace "green": ` + empty + `/missing is empty; try: sudo ip netns add green`},
		{dir, "./green", "network namespace ./green: no such file or directory"},
		{dir, "red/x/y", "network namespace red/x/y: no such file or directory"},
	} {
		f, err := cli.OpenNetNS(test.dir, test.name)
		text := ""
		if err == nil {
			f.Close()
		} else {
			text = err.Error()
		}
		if text != test.want {
			t.Errorf("%s: error %q, want %q", test.name, text, test.want)
		}
	}
}
