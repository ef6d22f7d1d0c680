// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"nlpeer/vm-test/internal/artifacts"
	"nlpeer/vm-test/internal/cache"
	"nlpeer/vm-test/internal/kernel"
	"nlpeer/vm-test/internal/machine"
	"nlpeer/vm-test/internal/matrix"
	"nlpeer/vm-test/internal/qemu"
)

// everyday are the kernels that every change is tested on.
var everyday = []string{"5.10", "6.1", "6.12", "7.3", "6.1-s390x"}

// suitesDir is where the suites are, in the source tree.
const suitesDir = "vm-test/suites"

// suiteLimit is how long one suite may take on a machine of normal speed.
const suiteLimit = 20 * time.Minute

// matrixRun is what is asked of nlvm matrix.
type matrixRun struct {
	kernels []string
	all     bool
	fresh   bool
	out     string
	docs    string
	suites  []string

	source   string
	self     string            // nlvm, which runs them
	built    map[string]string // by architecture, the folder of its test binaries
	cache    *cache.Cache
	progress *kernel.Progress
}

func newMatrix() *cobra.Command {
	var m matrixRun
	cmd := &cobra.Command{
		Use:   "matrix [flags] [SUITE…]",
		Short: "Run the suites on many kernels, and make a table of the results",
		Long: `Matrix runs the suites below vm-test/suites, or those named, on the kernels that
every change is tested on (` + strings.Join(everyday, ", ") + `), with --all on all
of Debian's that nlvm knows, as many at once as machines may run. It writes the
table to standard output, and with all reasons to matrix.md and matrix.json in
--out, where the suites' own output is too. How it goes on is told on standard
error, as go test does.

A suite that has passed is not run again with the very same files (test, module,
commands, kernel, nlvm, compiler, QEMU) and environment in the guest: its result
is taken from the cache, and an interrupted run goes on where it was. A result is
not kept if files were edited while the suite ran.

A skipped test counts as failed, unless it names a feature of which it is known
that this kernel lacks it. The exit status is 0 if nothing failed, and 1 if
something did.`,
		Example: `  nlvm matrix
  nlvm matrix --all --fresh
  nlvm matrix --kernel 5.10 --kernel 7.3 echo abuse`,
		RunE: func(_ *cobra.Command, args []string) error {
			m.suites = args
			return m.do()
		},
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().StringArrayVar(&m.kernels, "kernel", nil, "a kernel `NAME`, see nlvm kernels, or default (repeatable)")
	cmd.Flags().BoolVar(&m.all, "all", false, "all kernels of Debian's that nlvm knows")
	cmd.Flags().BoolVar(&m.fresh, "fresh", false, "run also what has passed with the very same files")
	cmd.Flags().StringVar(&m.out, "out", "build/matrix", "`FOLDER` for matrix.md and matrix.json")
	cmd.Flags().StringVar(&m.docs, "docs", "", "put the table into the marked place of a `FILE`, too")
	_ = cmd.RegisterFlagCompletionFunc("kernel", cobra.FixedCompletions(kernel.Names(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// job is one suite on one kernel.
type job struct {
	kernel kernel.Unpacked
	suite  string
	binary string
	key    string // of its result in the cache
	// look makes the key again, of the files as they are then.
	look func(context.Context) (string, error)
}

func (m *matrixRun) do() error {
	if m.all && len(m.kernels) > 0 {
		return errors.New("--all and --kernel contradict each other; give one of them")
	}
	if len(m.kernels) == 0 {
		m.kernels = slices.Clone(everyday)
	}
	if m.all {
		m.kernels = kernel.Released()
	}
	for i, name := range m.kernels {
		if name == "default" {
			name = ""
		}
		k, err := kernel.Find(name)
		if err != nil {
			return err
		}
		m.kernels[i] = k.Name
	}
	places, err := machine.Places()
	if err != nil {
		return err
	}
	if m.source, err = artifacts.FindSource(); err != nil {
		return err
	}
	if m.self, err = os.Executable(); err != nil {
		return err
	}
	if err := m.findSuites(); err != nil {
		return err
	}
	if m.cache, err = cache.Open(); err != nil {
		return err
	}
	defer m.cache.Close()
	use, err := m.cache.Use()
	if err != nil {
		return err
	}
	defer use.Unlock()
	m.progress = newProgress()
	ctx, cancel := interruptible()
	defer cancel()

	table := matrix.Table{Date: time.Now().Format(time.DateOnly), Kernels: m.kernels}
	jobs := make(chan job)
	var mu sync.Mutex
	add := func(r matrix.Result) {
		mu.Lock()
		defer mu.Unlock()
		table.Results = append(table.Results, r)
		tell(r)
	}
	var workers sync.WaitGroup
	for range places {
		workers.Go(func() {
			for j := range jobs {
				if r, err := m.run(ctx, j); err != nil {
					add(broken(j.kernel.Name, version(j.kernel), j.suite, err))
				} else {
					add(r)
				}
			}
		})
	}
	for _, name := range m.kernels {
		prepared, err := m.prepare(ctx, name)
		if err != nil {
			add(broken(name, "", "(preparation)", err))
		}
		for _, j := range prepared {
			if ctx.Err() == nil {
				jobs <- j
			}
		}
	}
	close(jobs)
	workers.Wait()
	if err := causeOf(ctx); err != nil {
		return err
	}
	return m.report(table)
}

// findSuites checks the names of suites, or takes all there are.
func (m *matrixRun) findSuites() error {
	files, err := filepath.Glob(filepath.Join(m.source, suitesDir, "*", "main_test.go"))
	if err != nil {
		return err
	}
	var all []string
	for _, f := range files {
		all = append(all, filepath.Base(filepath.Dir(f)))
	}
	if len(m.suites) == 0 {
		m.suites = all
	}
	for _, s := range m.suites {
		if !slices.Contains(all, s) {
			return fmt.Errorf("no suite %s; there are: %s", s, strings.Join(all, ", "))
		}
	}
	return nil
}

// prepare makes all that the suites need on a kernel.
func (m *matrixRun) prepare(ctx context.Context, name string) ([]job, error) {
	k, err := kernel.Find(name)
	if err != nil {
		return nil, err
	}
	u, err := kernel.Get(ctx, m.cache, k, m.progress)
	if err != nil {
		return nil, err
	}
	binaries, err := m.build(ctx, k)
	if err != nil {
		return nil, err
	}
	var jobs []job
	for _, suite := range m.suites {
		binary := filepath.Join(binaries, suite+".test")
		look := func(ctx context.Context) (string, error) {
			s, err := m.look(ctx, u, suite, binary)
			if err != nil {
				return "", fmt.Errorf("%s: %w", suite, err)
			}
			return s.key()
		}
		key, err := look(ctx)
		if err != nil {
			return nil, err
		}
		jobs = append(jobs, job{u, suite, binary, key, look})
	}
	return jobs, nil
}

// subject is what a suite's result is about.
type subject struct {
	source string // of nlvm
	runner string // nlvm itself, which may be older
	dir    string // of the suite
	binary string // its tests
	flags  []string
	guestRun
	kernel kernel.Unpacked
	guest  artifacts.Guest
}

// look finds what a suite's result on a kernel is about, and makes what of it is not
// up to date.
func (m *matrixRun) look(ctx context.Context, u kernel.Unpacked, suite, binary string) (subject, error) {
	s := subject{source: m.source, runner: m.self, dir: filepath.Join(m.source, suitesDir, suite), binary: binary, kernel: u}
	var err error
	if s.flags, err = flagsOf(s.dir, &s.machineFlags); err != nil {
		return s, err
	}
	image, err := kernel.FindImage(s.image)
	if err != nil {
		return s, err
	}
	s.guest, err = artifacts.Prepare(ctx, m.cache, m.source, u, artifacts.Want{Image: image, Module: true, Commands: true}, m.progress)
	if err != nil {
		return s, err
	}
	if w, err := artifacts.Warnings(s.guest.Module, m.source); err != nil || w != "" {
		return s, errors.Join(err, fmt.Errorf("the compiler warns of the module:\n%s", w))
	}
	return s, nil
}

// key names the result by all that it depends on.
func (s subject) key() (string, error) {
	runnerSource, err := artifacts.ProgramHash(s.source, []string{"vm-test/cmd/nlvm", "vm-test/internal"})
	if err != nil {
		return "", err
	}
	runner, err := artifacts.ContentHash(filepath.Dir(s.runner), []string{filepath.Base(s.runner)})
	if err != nil {
		return "", err
	}
	test, err := artifacts.ContentHash(filepath.Dir(s.binary), []string{filepath.Base(s.binary)})
	if err != nil {
		return "", err
	}
	data, err := artifacts.ContentHash(s.dir, []string{"testdata"})
	if err != nil {
		return "", err
	}
	emulator, err := qemu.Identity(s.kernel.Arch)
	if err != nil {
		return "", err
	}
	// What the suite is told in the guest, apart from how it was called here.
	env := slices.DeleteFunc(s.environment(s.kernel, s.guest), func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		return name == "TERM" || name == "NLPEER_CI" || name == "NLPEER_UNTIL"
	})
	slices.Sort(env)
	sum := sha256.Sum256(fmt.Appendf(nil, "%q\n", append([]string{runnerSource, runner, test, data, s.kernel.Version, s.kernel.Package,
		s.guest.Initrd, s.guest.PayloadKey(), emulator, s.accel}, append(s.flags, env...)...)))
	return hex.EncodeToString(sum[:20]), nil
}

// build compiles the suites for a kernel's architecture and returns the folder
// of the test binaries. For the next kernel of the same architecture they stay what
// they are: suites of this one may run.
func (m *matrixRun) build(ctx context.Context, k kernel.Kernel) (string, error) {
	if dir, ok := m.built[k.Arch]; ok {
		return dir, nil
	}
	dir := filepath.Join(m.out, k.Arch)
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	args := []string{"test", "-c", "-trimpath", "-buildvcs=false", "-o", dir + "/"}
	for _, s := range m.suites {
		args = append(args, "./"+filepath.Join(suitesDir, s))
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = m.source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+kernel.Architecture(k.Arch).Go)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("the suites do not build for %s: %w\n%s", k.Arch, err, bytes.TrimSpace(out))
	}
	if m.built == nil {
		m.built = make(map[string]string)
	}
	m.built[k.Arch] = dir
	return dir, nil
}

// run executes one suite, or takes the result of the last time.
func (m *matrixRun) run(ctx context.Context, j job) (matrix.Result, error) {
	kept := m.cache.Path("matrix", j.key+".json")
	var r matrix.Result
	if b, err := os.ReadFile(kept); err == nil && !m.fresh && json.Unmarshal(b, &r) == nil && r.OK() {
		now := time.Now()
		_ = os.Chtimes(kept, now, now)
		r.Repeated = true
		return r, nil
	}
	cmd := exec.CommandContext(ctx, "go", "tool", "test2json", "-t", m.self, "exec", "--kernel", j.kernel.Name, "--",
		j.binary, "-test.v=test2json", "-test.paniconexit0", "-test.timeout="+machine.Patience(suiteLimit).String())
	cmd.Dir = filepath.Join(m.source, suitesDir, j.suite)
	cmd.Env = append(os.Environ(), "NLPEER_CI=1")
	// All three of them: none passes a signal on.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	var events, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &events, &said
	start := time.Now()
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return r, err
	}
	r = matrix.Result{Kernel: j.kernel.Name, Version: version(j.kernel), Suite: j.suite,
		Status: cmd.ProcessState.ExitCode(), Seconds: time.Since(start).Seconds(),
		Processor: (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()}
	if err := r.Read(bytes.NewReader(events.Bytes())); err != nil {
		return r, fmt.Errorf("%w\n%s", err, said.String())
	}
	log := filepath.Join(m.out, j.kernel.Name, j.suite+".log")
	if err := errors.Join(os.MkdirAll(filepath.Dir(log), 0o755), os.WriteFile(log, matrix.Text(events.Bytes()), 0o644)); err != nil {
		return r, err
	}
	if !r.OK() {
		return r, nil
	}
	// Of what was edited while it ran, nobody knows which it has met.
	now, err := j.look(ctx)
	if err == nil && now != j.key {
		err = errors.New("files have changed meanwhile")
	}
	if err != nil {
		fmt.Fprintf(notes, "nlvm: the result of %s on %s is not kept: %v\n", j.suite, j.kernel.Name, err)
		return r, nil
	}
	b, err := json.Marshal(r)
	if err != nil {
		return r, err
	}
	temp, err := m.cache.TempDir("matrix")
	if err != nil {
		return r, err
	}
	fresh := filepath.Join(temp, "result")
	if err := os.WriteFile(fresh, b, 0o644); err != nil {
		return r, err
	}
	return r, cache.Commit(fresh, kept)
}

// version names exactly one kernel: its release, and the package's version.
func version(u kernel.Unpacked) string { return u.Version + " (" + u.Package + ")" }

// broken is the result of what could not even be run.
func broken(kernel, version, suite string, err error) matrix.Result {
	return matrix.Result{Kernel: kernel, Version: version, Suite: suite, Status: statusUsage,
		Failed: []matrix.Outcome{{Reason: err.Error()}}, Skipped: []matrix.Outcome{}}
}

// tell says on standard error how one suite went, as go test would.
func tell(r matrix.Result) {
	took := "(cached)"
	if !r.Repeated {
		took = fmt.Sprintf("%.1fs", r.Seconds)
	}
	how := "ok  "
	for _, f := range r.Failed {
		how = "FAIL"
		fmt.Fprintf(notes, "--- FAIL: %s\n    %s\n", f.Test, strings.ReplaceAll(f.Reason, "\n", "\n    "))
	}
	fmt.Fprintf(notes, "%s\tnlpeer/%s/%s\t%s\t[%s] %d passed", how, suitesDir, r.Suite, took, r.Kernel, r.Passed)
	if n := len(r.Skipped); n > 0 {
		fmt.Fprintf(notes, ", %d skipped", n)
	}
	fmt.Fprintln(notes)
}

// report writes the table everywhere it belongs.
func (m *matrixRun) report(t matrix.Table) error {
	slices.SortFunc(t.Results, func(a, b matrix.Result) int {
		if d := slices.Index(m.kernels, a.Kernel) - slices.Index(m.kernels, b.Kernel); d != 0 {
			return d
		}
		return strings.Compare(a.Suite, b.Suite)
	})
	text, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(m.out, 0o755); err != nil {
		return err
	}
	for name, content := range map[string][]byte{"matrix.json": append(text, '\n'), "matrix.md": []byte(t.Markdown())} {
		if err := os.WriteFile(filepath.Join(m.out, name), content, 0o644); err != nil {
			return err
		}
	}
	if m.docs != "" {
		document, err := os.ReadFile(m.docs)
		if err != nil {
			return err
		}
		changed, err := t.Replace(document)
		if err != nil {
			return fmt.Errorf("%s: %w", m.docs, err)
		}
		if err := os.WriteFile(m.docs, changed, 0o644); err != nil {
			return err
		}
	}
	notes.Flush()
	if _, err := io.WriteString(os.Stdout, t.Markdown()); err != nil {
		return err
	}
	if !t.OK() {
		return statusError(1)
	}
	return nil
}

// flagsOf reads the flags of the package in a folder, and those of the environment
// behind them, into f, with the defaults of those that they do not set.
func flagsOf(dir string, f *machineFlags) ([]string, error) {
	flags, err := packageFlags(dir)
	if err != nil {
		return nil, err
	}
	more, err := splitWords(os.Getenv("NLVM_FLAGS"))
	if err != nil {
		return nil, fmt.Errorf("NLVM_FLAGS: %w", err)
	}
	flags = append(flags, more...)
	set := pflag.NewFlagSet(packageFlagsFile, pflag.ContinueOnError)
	set.Usage = func() {}
	f.register(set)
	if err := set.Parse(flags); err != nil {
		return nil, fmt.Errorf("%s and NLVM_FLAGS: %w", packageFlagsFile, err)
	}
	return flags, nil
}
