// SPDX-License-Identifier: MIT

package grade

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"nlpeer/labs/internal/source"
)

// A CompileError is what a compiler says of a student's files.
type CompileError struct {
	What string // the folder
	Text string
}

func (e *CompileError) Error() string { return e.What + " does not compile\n" + e.Text }

// built are the programs of a lab: files on this machine, by their names in the
// guest.
type built struct {
	files    map[string]string
	warnings string
}

// build compiles all of a student's folder into temp.
func (t Tools) build(ctx context.Context, lab *source.Lab, dir, temp string, to target, progress io.Writer) (built, error) {
	b := built{files: map[string]string{}}
	if err := complete(lab, dir); err != nil {
		return b, err
	}
	type result struct {
		b   built
		err error
	}
	var running []chan result
	start := func(f func() (built, error)) {
		c := make(chan result, 1)
		running = append(running, c)
		go func() {
			b, err := f()
			c <- result{b, err}
		}()
	}
	if lab.Has("kernel") {
		start(func() (built, error) { return t.module(ctx, dir, to, progress) })
	}
	if lab.Has("user") {
		start(func() (built, error) { return t.program(ctx, dir, temp, to) })
	}
	if lab.Has("c") {
		start(func() (built, error) { return t.c(ctx, dir, temp, to) })
	}
	var wrong error
	for _, c := range running {
		r := <-c
		for name, file := range r.b.files {
			b.files[name] = file
		}
		b.warnings += r.b.warnings
		// The kernel's side first, and one compiler's words at a time.
		if wrong == nil {
			wrong = r.err
		}
	}
	return b, wrong
}

// complete says what of a lab's files is missing.
func complete(lab *source.Lab, dir string) error {
	if st, err := os.Stat(dir); err != nil {
		return err
	} else if !st.IsDir() {
		return fmt.Errorf("%s is a file; a lab is a folder", dir)
	}
	for _, sub := range source.StudentDirs {
		if !lab.Has(sub) {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, sub)); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s has no folder %s, so it is not lab %d; to begin that one again: nllab reset %d", dir, sub, lab.Number, lab.Number)
		}
	}
	return nil
}

func (t Tools) module(ctx context.Context, dir string, to target, progress io.Writer) (built, error) {
	folder := filepath.Join(dir, "kernel")
	args := []string{"build"}
	if to.Name != "" {
		args = append(args, "--kernel", to.Name)
	}
	cmd := exec.CommandContext(ctx, t.NLVM, append(args, folder)...)
	cmd.Env = t.environment()
	interruptible(cmd)
	words := &words{to: progress}
	cmd.Stderr = words
	out, err := cmd.Output()
	said := words.rest()
	var exit *exec.ExitError
	switch {
	case err != nil && fullDisk(said):
		return built{}, fmt.Errorf("%s cannot be built: %w\n%s", folder, syscall.ENOSPC, said)
	case errors.As(err, &exit) && exit.ExitCode() == 1:
		return built{}, &CompileError{folder, said}
	case err != nil && ctx.Err() != nil:
		return built{}, ctx.Err()
	case err != nil:
		return built{}, fmt.Errorf("%s cannot be built: %w\n%s", folder, err, said)
	}
	file := strings.TrimSpace(string(out))
	return built{files: map[string]string{"kernel/" + filepath.Base(file): file}, warnings: said}, nil
}

// together lets several programs write to w.
type together struct {
	mu sync.Mutex
	w  io.Writer
}

func (t *together) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.w.Write(p)
}

// words are what nlvm says: how it goes on is passed on at once, the rest kept.
type words struct {
	to   io.Writer
	line []byte
	kept bytes.Buffer
}

func (w *words) Write(p []byte) (int, error) {
	w.line = append(w.line, p...)
	for {
		at := bytes.IndexByte(w.line, '\n')
		if at < 0 {
			return len(p), nil
		}
		line := w.line[:at+1]
		w.line = w.line[at+1:]
		if !isProgress(string(line)) {
			w.kept.Write(line)
		} else if w.to != nil && !bytes.Contains(line, []byte("building the module")) {
			_, _ = w.to.Write(line)
		}
	}
}

// isProgress knows what nlvm says while something takes long.
func isProgress(line string) bool {
	line = strings.TrimSpace(line)
	return strings.HasPrefix(line, "nlvm: ") && (strings.HasSuffix(line, " …") || strings.Contains(line, ": done ("))
}

func (w *words) rest() string { return w.kept.String() + string(w.line) }

// program builds user/ as one program. By its files, so that a folder without a
// go.mod above it does as well.
func (t Tools) program(ctx context.Context, dir, temp string, to target) (built, error) {
	folder := filepath.Join(dir, "user")
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return built{}, err
	}
	files = slices.DeleteFunc(files, func(f string) bool { return strings.HasSuffix(f, "_test.go") })
	if len(files) == 0 {
		return built{}, &CompileError{folder, "there is no Go file in it"}
	}
	for i, f := range files {
		// Of another package, go would make an archive, and be content.
		if p, err := parser.ParseFile(token.NewFileSet(), f, nil, parser.PackageClauseOnly); err == nil && p.Name.Name != "main" {
			return built{}, &CompileError{folder, fmt.Sprintf("%s: this is package %s, and a program is package main", f, p.Name.Name)}
		}
		files[i] = "./" + filepath.Base(f)
	}
	out := filepath.Join(temp, "user-program")
	cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", out}, files...)...)
	cmd.Dir = folder
	cmd.Env = t.environment("CGO_ENABLED=0", "GOOS=linux", "GOARCH="+to.GOARCH, "GOWORK=off", "GOFLAGS=", "GOPROXY=off")
	interruptible(cmd)
	text, err := cmd.CombinedOutput()
	if err := failed(ctx, cmd, err, folder, inFolder(folder, string(text))); err != nil {
		return built{}, err
	}
	b := built{files: map[string]string{"user/user": out}}
	return b, b.texts(folder, temp)
}

// texts adds copies of what a student writes for a reader: user/*.txt.
func (b built) texts(folder, temp string) error {
	files, err := filepath.Glob(filepath.Join(folder, "*.txt"))
	if err != nil {
		return err
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		name := filepath.Base(f)
		file := filepath.Join(temp, "text-"+name)
		if err := os.WriteFile(file, text, 0o644); err != nil {
			return err
		}
		b.files["user/"+name] = file
	}
	return nil
}

// c builds each file of c/ as one static program.
func (t Tools) c(ctx context.Context, dir, temp string, to target) (built, error) {
	folder := filepath.Join(dir, "c")
	files, err := filepath.Glob(filepath.Join(folder, "*.c"))
	if err != nil {
		return built{}, err
	}
	b := built{files: map[string]string{}}
	if len(files) == 0 {
		return b, &CompileError{folder, "there is no C file in it"}
	}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".c")
		out := filepath.Join(temp, "c-"+name)
		cmd := exec.CommandContext(ctx, to.CC, "-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-fno-strict-aliasing", "-static",
			"-o", out, filepath.Base(f))
		cmd.Dir = folder
		cmd.Env = t.environment("LC_ALL=C.UTF-8")
		interruptible(cmd)
		text, err := cmd.CombinedOutput()
		said := inFolder(folder, string(text))
		if errors.Is(err, exec.ErrNotFound) {
			// In words of its own: the missing compiler may be one for another kernel.
			return b, fmt.Errorf("%s, which this lab needs, is not installed; in nlpeer's source tree, try: tools/deps vm (or, for another processor, tools/deps matrix-all)", to.CC)
		}
		if err := failed(ctx, cmd, err, folder, errorsFirst(said)); err != nil {
			return b, err
		}
		b.warnings += said
		b.files["c/"+name] = out
	}
	return b, nil
}

// errorsFirst puts blocks of a C compiler's words that are errors before the
// warnings.
func errorsFirst(text string) string {
	var wrong, rest []string
	to := &rest
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, " ") {
			to = &rest
			if strings.Contains(line, "error:") || strings.Contains(line, "undefined reference") {
				to = &wrong
			}
		}
		*to = append(*to, line)
	}
	return strings.Join(append(wrong, rest...), "")
}

// fullDisk knows a compiler that fails for something else than what it compiles.
func fullDisk(said string) bool {
	return strings.Contains(strings.ToLower(said), syscall.ENOSPC.Error())
}

// failed tells a refusal of the compiler from another failure.
func failed(ctx context.Context, cmd *exec.Cmd, err error, folder, said string) error {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &exit) && fullDisk(said):
		return fmt.Errorf("%s cannot be built: %w\n%s", folder, syscall.ENOSPC, said)
	case errors.As(err, &exit):
		return &CompileError{folder, said}
	}
	return fmt.Errorf("%s: %w", cmd.Args[0], err)
}

// inFolder puts the student's folder in front of the files that a compiler
// names, and drops what is no news.
func inFolder(folder, text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "# ") {
			continue
		}
		name, _, ok := strings.Cut(strings.TrimPrefix(line, "./"), ":")
		if ok && !filepath.IsAbs(name) && !strings.ContainsAny(name, " \t") {
			if _, err := os.Stat(filepath.Join(folder, name)); err == nil {
				line = filepath.Join(folder, strings.TrimPrefix(line, "./"))
			}
		}
		b.WriteString(line)
	}
	return b.String()
}

// checkBinary builds the check of a lab, or takes the one that was built of the
// same files.
func (t Tools) checkBinary(ctx context.Context, lab *source.Lab, to target) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, to.GOARCH)
	pkg := "./labs/src/" + lab.ID + "/check"
	if err := t.HashPackages(ctx, h, true, pkg); err != nil {
		return "", err
	}
	file := filepath.Join(t.Cache, "checks", hex.EncodeToString(h.Sum(nil)[:16]), lab.ID+".test")
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return "", err
	}
	// Who comes second waits, and finds it done.
	lock, err := os.Create(file + ".lock")
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	fresh := file + ".fresh"
	defer os.Remove(fresh)
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", fresh, pkg)
	cmd.Dir = t.Tree
	cmd.Env = t.environment("CGO_ENABLED=0", "GOOS=linux", "GOARCH="+to.GOARCH)
	interruptible(cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", fmt.Errorf("the check of lab %d does not build: %w\n%s", lab.Number, err, bytes.TrimSpace(out))
	}
	return file, os.Rename(fresh, file)
}

// HashPackages adds the files of nlpeer's packages that the named ones, or their
// tests, are made of, and the versions of all else.
func (t Tools) HashPackages(ctx context.Context, h io.Writer, tests bool, packages ...string) error {
	fmt.Fprintln(h, runtime.Version())
	// The main function of a test, whose name is absolute, is no file of ours.
	const files = `{{if not .Standard}}{{$d := .Dir}}{{range .GoFiles}}{{$d}}	{{.}}
{{end}}{{range .IgnoredGoFiles}}{{$d}}	{{.}}
{{end}}{{range .EmbedFiles}}{{$d}}	{{.}}
{{end}}{{end}}`
	cmd := exec.CommandContext(ctx, "go", append([]string{"list", "-deps", "-test=" + strconv.FormatBool(tests), "-f", files}, packages...)...)
	cmd.Dir = t.Tree
	cmd.Env = t.environment()
	interruptible(cmd)
	var words bytes.Buffer
	cmd.Stderr = &words
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("go list %s: %w\n%s", strings.Join(packages, " "), err, words.String())
	}
	names := []string{filepath.Join(t.Tree, "go.mod"), filepath.Join(t.Tree, "go.sum")}
	for line := range strings.Lines(string(out)) {
		dir, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if ok && strings.HasPrefix(dir, t.Tree+"/") && !filepath.IsAbs(name) {
			names = append(names, filepath.Join(dir, name))
		}
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if err := HashFiles(h, name); err != nil {
			return err
		}
	}
	return nil
}

// HashFiles adds the names and contents of the files below a path.
func HashFiles(h io.Writer, root string) error {
	return filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		st, err := f.Stat()
		if err != nil {
			return err
		}
		fmt.Fprintln(h, filepath.Base(root), rel, st.Size())
		_, err = io.Copy(h, bufio.NewReader(f))
		return err
	})
}
