// SPDX-License-Identifier: MIT

// Package artifacts builds what goes into the guest: the agent, our commands
// and the module, each in the cache under a name that depends on its content.
//
// Being up to date must cost nothing when nothing has changed. So there are two
// levels: a fingerprint over path, size and time of all sources, which is a
// walk over some hundred files; and, only if that differs from the last time,
// the builds, of which each knows better than we do what it can reuse.
package artifacts

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"nlpeer/vm-test/internal/kernel"
)

// SourceDir may be set when nlvm is linked:
//
//	go build -ldflags "-X nlpeer/vm-test/internal/artifacts.SourceDir=$PWD"
//
// An installed nlvm then works from any folder.
var SourceDir string

const modulePath = "nlpeer"

// FindSource returns the source tree of nlpeer that nlvm works with: the one
// around the current folder, else NLPEER_SRC, else SourceDir.
func FindSource() (string, error) {
	if dir, err := os.Getwd(); err == nil {
		for {
			if isSource(dir) {
				return dir, nil
			}
			parent := filepath.Dir(dir)
			if parent == dir {
				break
			}
			dir = parent
		}
	}
	if dir := os.Getenv("NLPEER_SRC"); dir != "" {
		if !isSource(dir) {
			return "", fmt.Errorf("NLPEER_SRC=%s is not the source tree of nlpeer: it has no go.mod that says so", dir)
		}
		return filepath.Abs(dir)
	}
	if SourceDir != "" && isSource(SourceDir) {
		return SourceDir, nil
	}
	return "", errors.New("this folder is not inside nlpeer's source tree; go there, or set NLPEER_SRC to it")
}

func isSource(dir string) bool {
	f, err := os.Open(filepath.Join(dir, "go.mod"))
	if err != nil {
		return false
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if fields := strings.Fields(sc.Text()); len(fields) >= 2 && fields[0] == "module" {
			return fields[1] == modulePath
		}
	}
	return false
}

// inputs is everything that anything in the guest is built from.
var inputs = []string{
	"go.mod", "go.sum", "nlpeer.go", "VERSION", "cmd", "pkg", "kmod", "include", "Kbuild",
	"vm-test/agent", "vm-test/internal/wire", "vm-test/internal/tarball",
	"spec", "tools/ynl",
}

// sourcesState changes when something is changed that the parts of a guest with that
// kernel are made of or by.
func sourcesState(source string, k kernel.Unpacked) (string, error) {
	fp, err := fingerprint(source, inputs)
	if err != nil {
		return "", err
	}
	compiler, err := kernel.Architecture(k.Arch).FindCompiler()
	if err != nil {
		return fp, nil // it is missed when there is something to compile
	}
	identity, err := programIdentity(compiler)
	return fp + " " + identity, err
}

// moduleInputs is what the kernel module is built from.
var moduleInputs = []string{"Kbuild", "VERSION", "kmod", "include"}

// fingerprint changes when a source was changed, added or removed.
func fingerprint(dir string, names []string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version())
	err := walk(dir, names, func(rel string, info fs.FileInfo) error {
		_, err := fmt.Fprintln(h, rel, info.Size(), info.ModTime().UnixNano())
		return err
	})
	return hex.EncodeToString(h.Sum(nil)), err
}

// ContentHash depends on names and contents only.
func ContentHash(dir string, names []string) (string, error) {
	return hashOf(dir, names, func(string) bool { return true })
}

// ProgramHash is ContentHash without what only tests of Go programs are made of.
func ProgramHash(dir string, names []string) (string, error) {
	return hashOf(dir, names, func(rel string) bool { return !strings.HasSuffix(rel, "_test.go") })
}

func hashOf(dir string, names []string, counts func(rel string) bool) (string, error) {
	h := sha256.New()
	err := walk(dir, names, func(rel string, info fs.FileInfo) error {
		if !counts(rel) {
			return nil
		}
		fmt.Fprintln(h, rel, info.Size())
		f, err := os.Open(filepath.Join(dir, rel))
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(h, f)
		return err
	})
	return hex.EncodeToString(h.Sum(nil)), err
}

// walk visits the regular files of the named files and folders, in order.
// Names that do not exist are skipped; so are what builds leave behind.
func walk(dir string, names []string, visit func(rel string, info fs.FileInfo) error) error {
	for _, name := range names {
		err := filepath.WalkDir(filepath.Join(dir, name), func(p string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			if base := d.Name(); strings.HasPrefix(base, ".") || isOutput(base) {
				if d.IsDir() {
					return filepath.SkipDir
				}
				return nil
			}
			if !d.Type().IsRegular() {
				return nil
			}
			info, err := d.Info()
			if errors.Is(err, fs.ErrNotExist) {
				return nil // an editor's temporary file
			}
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(dir, p)
			if err != nil {
				return err
			}
			return visit(rel, info)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// isOutput recognises what kbuild and compilers write next to sources.
func isOutput(name string) bool {
	switch filepath.Ext(name) {
	case ".o", ".ko", ".mod", ".cmd", ".order", ".symvers", ".pyc":
		return true
	}
	return strings.HasSuffix(name, ".mod.c") || strings.HasSuffix(name, "~")
}
