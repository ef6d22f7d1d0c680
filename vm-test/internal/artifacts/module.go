// SPDX-License-Identifier: MIT

package artifacts

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"

	"nlpeer/vm-test/internal/cache"
	"nlpeer/vm-test/internal/kernel"
)

// ErrNoModule is returned if there is nothing to build a module from.
var ErrNoModule = errors.New("no Kbuild")

// BuildModule builds the one module of a folder with a Kbuild for a kernel and
// returns its path in the cache. names are the files and folders it is made
// from; the build sees a private copy of them and never writes to dir.
func BuildModule(ctx context.Context, c *cache.Cache, k kernel.Unpacked, dir string, names []string, p *kernel.Progress) (string, error) {
	if _, err := os.Stat(filepath.Join(dir, "Kbuild")); err != nil {
		return "", fmt.Errorf("%w in %s", ErrNoModule, dir)
	}
	compiler, err := kernel.Architecture(k.Arch).FindCompiler()
	if err != nil {
		return "", err
	}
	home, err := moduleHome(c, k, compiler, dir, names)
	if err != nil {
		return "", err
	}
	if file, err := builtModule(home); err == nil {
		return file, nil
	}
	l, err := c.Lock(ctx, "module-"+filepath.Base(home), func() { p.Start("waiting for another nlvm that builds the module") })
	if err != nil {
		return "", err
	}
	defer l.Unlock()
	if file, err := builtModule(home); err == nil {
		return file, nil
	}

	known, err := recipe(c, k, compiler, dir, names)
	if err != nil {
		return "", err
	}
	work, err := workFolder(c, dir, names)
	if err != nil {
		return "", err
	}
	// What was edited while we waited is another module.
	if home, err = moduleHome(c, k, compiler, work, names); err != nil {
		return "", err
	}
	done := p.Start("building the module for %s", k.Version)
	if known != "" {
		if made, err := follow(ctx, c, k, known, work); err != nil {
			return "", err
		} else if made {
			done("")
			return install(c, k, work, home, nil)
		}
		// What it has left is not kbuild's to go on with.
		if work, err = workFolder(c, dir, names); err != nil {
			return "", err
		}
		if home, err = moduleHome(c, k, compiler, work, names); err != nil {
			return "", err
		}
	}
	log, err := kbuild(ctx, k, compiler, work)
	// The copy is nothing that anybody knows.
	log = bytes.ReplaceAll(log, []byte(work+"/"), nil)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		file := c.Path("module-build.log")
		_ = os.WriteFile(file, log, 0o644)
		return "", &BuildError{Version: k.Version, Reasons: inFolder(dir, reasons(log)), Log: file}
	}
	if err != nil {
		return "", fmt.Errorf("the module does not build for %s: %w", k.Version, err)
	}
	done("")
	if known != "" {
		if err := writeRecipe(c, known, work); err != nil {
			return "", err
		}
	}
	return install(c, k, work, home, log)
}

// moduleHome is a module's place in the cache, by the kernel, the sources and the
// compiler: another one makes other code of the same files.
func moduleHome(c *cache.Cache, k kernel.Unpacked, compiler, dir string, names []string) (string, error) {
	sum, err := ContentHash(dir, names)
	if err != nil {
		return "", err
	}
	identity, err := programIdentity(compiler)
	if err != nil {
		return "", err
	}
	made := sha256.Sum256([]byte(sum + " " + identity))
	return c.Path("modules", k.Version+"_"+k.Package+"_"+k.Arch+"_"+hex.EncodeToString(made[:16])), nil
}

// A BuildError says why the compiler did not make a module.
type BuildError struct {
	Version string // of the kernel
	Reasons string // the compiler's words, errors first, files with their folder
	Log     string // the file with all of them
}

func (e *BuildError) Error() string {
	return fmt.Sprintf("the module does not build for %s\n%s\n(whole log: %s)", e.Version, e.Reasons, e.Log)
}

// sourceLine begins a line that names a file of the folder.
var sourceLine = regexp.MustCompile(`(?m)^[A-Za-z0-9_][\w./-]*\.[chS]:\d+`)

// inFolder puts the folder in front of its files.
func inFolder(dir, text string) string {
	return sourceLine.ReplaceAllStringFunc(text, func(m string) string { return filepath.Join(dir, m) })
}

// builtModule finds the finished module in its place in the cache.
func builtModule(home string) (string, error) {
	files, err := filepath.Glob(filepath.Join(home, "*.ko"))
	if err != nil {
		return "", err
	}
	if len(files) != 1 {
		return "", fs.ErrNotExist
	}
	return files[0], nil
}

// workFolder is a new folder with a copy of the sources.
func workFolder(c *cache.Cache, dir string, names []string) (string, error) {
	work, err := c.TempDir("module")
	if err != nil {
		return "", err
	}
	return work, copySources(work, dir, names)
}

func copySources(work, dir string, names []string) error {
	return walk(dir, names, func(rel string, _ fs.FileInfo) error {
		in, err := os.Open(filepath.Join(dir, rel))
		if err != nil {
			return err
		}
		defer in.Close()
		target := filepath.Join(work, rel)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		out, err := os.Create(target)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, in)
		return errors.Join(err, out.Close())
	})
}

// kbuild runs the kernel's own build system for an external module.
func kbuild(ctx context.Context, k kernel.Unpacked, compiler, work string) ([]byte, error) {
	arch := kernel.Architecture(k.Arch)
	for _, tool := range []string{"make", "strip"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("%s is not installed; try: sudo apt-get install make binutils", tool)
		}
	}
	// The headers name the compiler that the kernel was built with; the
	// installed one does as well, for a module.
	// Without BTF: it needs a tool (pahole) that few have, for what no test uses.
	// The option for the least distance of functions is one of gcc 14; without
	// it kbuild takes the older one, which does the same for all but cold code.
	args := []string{"-C", k.BuildDir(), "M=" + work, "ARCH=" + arch.Kbuild, "CROSS_COMPILE=" + arch.Cross(),
		"CC=" + compiler, "W=1", "CONFIG_DEBUG_INFO_BTF_MODULES=", "CONFIG_CC_HAS_MIN_FUNCTION_ALIGNMENT=",
		fmt.Sprintf("-j%d", runtime.NumCPU())}
	if k.Coverage() {
		args = append(args, "GCOV_PROFILE=y", "KCOV_INSTRUMENT=y") // which code was reached
	}
	cmd := exec.CommandContext(ctx, "make", append(args, "modules")...)
	// Called from a Makefile, its variables must not reach this build.
	cmd.Env = append(os.Environ(), "LC_ALL=C", "MAKEFLAGS=", "MFLAGS=", "MAKELEVEL=")
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	err := cmd.Run()
	return log.Bytes(), err
}

// kbuildStep is how kbuild says what it does next.
var kbuildStep = regexp.MustCompile(`^  [A-Z]+ `)

// diagnostics are the lines of a build's log that a person needs.
func diagnostics(log []byte) string {
	var lines []string
	context := 0
	for line := range strings.Lines(string(log)) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.Contains(line, "warning: the compiler differs from the one used to build the kernel"),
			strings.Contains(line, "warning: pahole version differs"):
			continue
		case strings.Contains(line, "error:"), strings.Contains(line, "warning:"), strings.Contains(line, "ERROR:"),
			strings.Contains(line, "WARNING:"), strings.Contains(line, "undefined reference"), strings.Contains(line, "No such file"):
			context = 3 // the source line and the mark below it
			lines = append(lines, line)
		case context > 0 && strings.HasPrefix(line, " ") && !kbuildStep.MatchString(line):
			context--
			lines = append(lines, line)
		default:
			context = 0
		}
	}
	return strings.Join(lines, "\n")
}

// Warnings is what the compiler had to say of a module that BuildModule has built
// from dir.
func Warnings(module, dir string) (string, error) {
	log, err := os.ReadFile(filepath.Join(filepath.Dir(module), "build.log"))
	return inFolder(dir, diagnostics(log)), err
}

// reasons are the diagnostics, those that end the build first, or the end of
// the log if there are none.
func reasons(log []byte) string {
	var wrong, rest []string
	to := &rest
	for line := range strings.Lines(diagnostics(log)) {
		line = strings.TrimSuffix(line, "\n")
		if !strings.HasPrefix(line, " ") {
			to = &rest
			if !strings.Contains(strings.ToLower(line), "warning:") {
				to = &wrong
			}
		}
		*to = append(*to, line)
	}
	if all := append(wrong, rest...); len(all) > 0 {
		return strings.Join(all, "\n")
	}
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	return strings.Join(lines[max(0, len(lines)-12):], "\n")
}

// install strips the module and moves it to its place, with the log, and the
// module as it was, NAME.debug, for whoever looks for lines of the source.
func install(c *cache.Cache, k kernel.Unpacked, work, home string, log []byte) (string, error) {
	file, err := builtModule(work)
	if err != nil {
		return "", errors.New("the Kbuild built no module, or more than one")
	}
	whole := strings.TrimSuffix(file, ".ko") + ".debug"
	if err := os.Link(file, whole); err != nil {
		return "", err
	}
	// The output is another file: the link is to stay as it is.
	if out, err := exec.Command(kernel.Architecture(k.Arch).Cross()+"strip", "--strip-debug", "-o", file+".stripped", file).CombinedOutput(); err != nil {
		return "", fmt.Errorf("strip: %w: %s", err, out)
	}
	result, err := c.TempDir("result")
	if err != nil {
		return "", err
	}
	for from, to := range map[string]string{file + ".stripped": file, whole: whole} {
		if err := os.Rename(from, filepath.Join(result, filepath.Base(to))); err != nil {
			return "", err
		}
	}
	if err := os.WriteFile(filepath.Join(result, "build.log"), log, 0o644); err != nil {
		return "", err
	}
	if err := keepNotes(work, result); err != nil {
		return "", err
	}
	if err := cache.Commit(result, home); err != nil {
		return "", err
	}
	return builtModule(home)
}
