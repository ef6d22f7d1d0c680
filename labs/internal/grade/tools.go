// SPDX-License-Identifier: MIT

// Package grade builds what a student has written, runs a lab's check on it and
// says how that went.
package grade

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// Tools are what grading is done with.
type Tools struct {
	Tree  string // nlpeer's source tree: the labs, their checks, nlvm's source
	NLVM  string // the command
	Cache string // folder for checks that are built
}

// SourceDir may be set when nllab is linked, as nlvm's:
//
//	go build -ldflags "-X nlpeer/labs/internal/grade.SourceDir=$PWD"
var SourceDir string

// FindTools finds them. remembered are other places where the tree may be.
func FindTools(remembered ...string) (Tools, error) {
	var t Tools
	var err error
	if t.Tree, err = FindTree(remembered...); err != nil {
		return t, err
	}
	if t.NLVM, err = findNLVM(); err != nil {
		return t, err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return t, err
	}
	t.Cache = filepath.Join(cache, "nlpeer", "labs")
	return t, nil
}

// FindTree looks for the source tree: around this folder, where NLPEER_SRC says,
// in the places that are remembered, where this program lies, where it was built.
func FindTree(remembered ...string) (string, error) {
	if dir, err := os.Getwd(); err == nil {
		for ; ; dir = filepath.Dir(dir) {
			if isTree(dir) {
				return dir, nil
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	if dir := os.Getenv("NLPEER_SRC"); dir != "" {
		if !isTree(dir) {
			return "", fmt.Errorf("NLPEER_SRC=%s is not the source tree of nlpeer", dir)
		}
		return filepath.Abs(dir)
	}
	if self, err := os.Executable(); err == nil {
		remembered = append(remembered, filepath.Join(filepath.Dir(self), "../.."))
	}
	for _, dir := range append(remembered, SourceDir) {
		if dir != "" && isTree(dir) {
			return filepath.Abs(dir)
		}
	}
	return "", errors.New("nlpeer's source tree is not found: it has the labs and their checks; go there, or set NLPEER_SRC to it")
}

func isTree(dir string) bool {
	f, err := os.Open(filepath.Join(dir, "go.mod"))
	if err != nil {
		return false
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if fields := strings.Fields(sc.Text()); len(fields) >= 2 && fields[0] == "module" {
			return fields[1] == "nlpeer"
		}
	}
	return false
}

// findNLVM takes the nlvm beside this program, else the one on the PATH.
func findNLVM() (string, error) {
	if self, err := os.Executable(); err == nil {
		if self, err = filepath.EvalSymlinks(self); err == nil {
			beside := filepath.Join(filepath.Dir(self), "nlvm")
			if _, err := os.Stat(beside); err == nil {
				return beside, nil
			}
		}
	}
	file, err := exec.LookPath("nlvm")
	if err != nil {
		return "", errors.New("nlvm is neither beside nllab nor on the PATH; in nlpeer's source tree, run: make commands")
	}
	return file, nil
}

// LabsDir is where the sources of the labs are.
func (t Tools) LabsDir() string { return filepath.Join(t.Tree, "labs", "src") }

// environment is what nlvm and the compilers get.
func (t Tools) environment(more ...string) []string {
	return append(append(os.Environ(), "NLPEER_SRC="+t.Tree), more...)
}

// KernelVersion is the version of a kernel, "" for one that has not been
// downloaded yet.
func (t Tools) KernelVersion(ctx context.Context, kernel string) (string, error) {
	to, err := t.target(ctx, kernel)
	return to.Version, err
}

// DefaultKernel is the name of the kernel that is used if none is named.
func (t Tools) DefaultKernel(ctx context.Context) (string, error) {
	to, err := t.target(ctx, "")
	return to.Name, err
}

// A target says how programs are built for a kernel.
type target struct {
	Name    string `json:"name"`
	GOARCH  string `json:"goarch"`
	CC      string `json:"cc"`
	Version string `json:"version"`
	Default bool   `json:"default"`
}

// native is this machine.
var native = target{GOARCH: runtime.GOARCH, CC: "gcc"}

// target asks nlvm about a kernel, "" for its default.
func (t Tools) target(ctx context.Context, kernel string) (target, error) {
	cmd := exec.CommandContext(ctx, t.NLVM, "kernels", "-o", "json")
	cmd.Env = t.environment()
	var words bytes.Buffer
	cmd.Stderr = &words
	out, err := cmd.Output()
	if err != nil {
		return target{}, fmt.Errorf("nlvm kernels: %w\n%s", err, words.String())
	}
	var names []string
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var k target
		if err := d.Decode(&k); err != nil {
			return target{}, fmt.Errorf("nlvm kernels: %w", err)
		}
		if k.Name == kernel || kernel == "" && k.Default {
			return k, nil
		}
		names = append(names, k.Name)
	}
	return target{}, fmt.Errorf("unknown kernel %q; known are: %s", kernel, strings.Join(names, ", "))
}
