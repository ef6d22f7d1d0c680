// SPDX-License-Identifier: MIT

package gotest_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nlpeer/vm-test/internal/gotest"
)

func TestRewrite(t *testing.T) {
	const dir, out = "/src/pkg", "/run/nlvm"
	tests := []struct {
		name string
		args []string
		want gotest.Plan
	}{
		{
			"what go test gives always",
			[]string{"-test.paniconexit0", "-test.timeout=10m0s", "-test.v=true", "-test.run=^TestX$"},
			gotest.Plan{
				Args:    []string{"-test.paniconexit0", "-test.timeout=10m0s", "-test.v=true", "-test.run=^TestX$"},
				Back:    map[string]string{},
				Timeout: 10 * time.Minute,
			},
		},
		{
			"coverage",
			[]string{"-test.coverprofile=/tmp/go-build1/b001/_cover_.out", "-test.gocoverdir=/tmp/go-build1/b001/gocoverdir"},
			gotest.Plan{
				Args: []string{"-test.coverprofile=/run/nlvm/0-_cover_.out", "-test.gocoverdir=/run/nlvm/gocoverdir"},
				Dirs: []string{"/run/nlvm/gocoverdir"},
				Back: map[string]string{
					"/run/nlvm/0-_cover_.out": "/tmp/go-build1/b001/_cover_.out",
					"/run/nlvm/gocoverdir":    "/tmp/go-build1/b001/gocoverdir",
				},
			},
		},
		{
			"profiles with an output folder that comes after them",
			[]string{"-test.cpuprofile=cpu.out", "-test.memprofile", "mem/cpu.out", "--test.trace=/abs/t.out", "-test.outputdir=/home/me"},
			gotest.Plan{
				Args: []string{
					"-test.cpuprofile=/run/nlvm/0-cpu.out", "-test.memprofile=/run/nlvm/1-cpu.out",
					"-test.trace=/run/nlvm/2-t.out", "-test.outputdir=/run/nlvm",
				},
				Back: map[string]string{
					"/run/nlvm/0-cpu.out": "/home/me/cpu.out",
					"/run/nlvm/1-cpu.out": "/home/me/mem/cpu.out",
					"/run/nlvm/2-t.out":   "/abs/t.out",
				},
			},
		},
		{
			"relative to the package without an output folder",
			[]string{"-test.blockprofile=b.out", "-test.mutexprofile=m.out"},
			gotest.Plan{
				Args: []string{"-test.blockprofile=/run/nlvm/0-b.out", "-test.mutexprofile=/run/nlvm/1-m.out"},
				Back: map[string]string{"/run/nlvm/0-b.out": "/src/pkg/b.out", "/run/nlvm/1-m.out": "/src/pkg/m.out"},
			},
		},
		{
			"the log for the cache stays in the guest",
			[]string{"-test.testlogfile=/tmp/b001/testlog.txt"},
			gotest.Plan{Args: []string{"-test.testlogfile=/run/nlvm/testlog"}, Back: map[string]string{}},
		},
		{
			"the test's own arguments are left alone",
			[]string{"-test.short", "-update", "--", "-test.cpuprofile=x"},
			gotest.Plan{Args: []string{"-test.short", "-update", "--", "-test.cpuprofile=x"}, Back: map[string]string{}},
		},
		{
			"so are those after the first that is no flag",
			[]string{"word", "-test.cpuprofile=x"},
			gotest.Plan{Args: []string{"word", "-test.cpuprofile=x"}, Back: map[string]string{}},
		},
		{
			"failing inputs of a fuzz test come back",
			[]string{"-test.fuzz=FuzzX", "-test.fuzzcachedir=/c"},
			gotest.Plan{
				Args: []string{"-test.fuzz=FuzzX", "-test.fuzzcachedir=/run/nlvm/fuzz"},
				Back: map[string]string{"testdata/fuzz": "/src/pkg/testdata/fuzz"},
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.want.Dirs = append(tt.want.Dirs, out)
			got, err := gotest.Rewrite(tt.args, dir, out)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestRewriteRefuses(t *testing.T) {
	for _, args := range [][]string{{"-test.timeout=soon"}, {"-test.cpuprofile"}} {
		if p, err := gotest.Rewrite(args, "/", "/out"); err == nil {
			t.Errorf("%q: planned as %+v", args, p)
		}
	}
}

func TestHostPath(t *testing.T) {
	p := gotest.Plan{Back: map[string]string{
		"/run/nlvm/0-c.out":    "/host/c.out",
		"/run/nlvm/gocoverdir": "/host/cov",
		"testdata/fuzz":        "/src/testdata/fuzz",
	}}
	for guest, want := range map[string]string{
		"run/nlvm/0-c.out":                     "/host/c.out",
		"run/nlvm/gocoverdir/":                 "/host/cov",
		"run/nlvm/gocoverdir/covmeta.1":        "/host/cov/covmeta.1",
		"work/testdata/fuzz/FuzzX/1":           "/src/testdata/fuzz/FuzzX/1",
		"run/nlvm/gocoverdir/../../etc/passwd": "",
		"run/nlvm/gocoverdirs/x":               "",
		"etc/passwd":                           "",
	} {
		if got := p.HostPath(guest, "/work"); got != want {
			t.Errorf("HostPath(%q) = %q, want %q", guest, got, want)
		}
	}
}
