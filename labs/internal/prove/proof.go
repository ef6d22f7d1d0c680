// SPDX-License-Identifier: MIT

package prove

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"nlpeer/labs/internal/grade"
	"nlpeer/labs/internal/source"
)

// A Proof is one thing that has to be so.
type Proof interface {
	Name() string
	On() string // the kernel, "" for the default
	Run(ctx context.Context, t grade.Tools, progress io.Writer) error
	lab() *source.Lab
}

// Everyday are the kernels on which every solution has to pass, as nlvm matrix
// has them; Kernels are all.
var (
	Everyday = []string{"5.10", "6.1", "6.12", "7.3", "6.1-s390x"}
	Kernels  = append(slices.Clone(Everyday), "6.1-i686", "6.1-arm64", "6.1-rt")
)

// Of are all proofs of a lab.
func Of(l *source.Lab, kernels []string) []Proof {
	var all []Proof
	if l.Graded() {
		for _, c := range Stages(l) {
			all = append(all, c)
		}
		for _, k := range kernels {
			if l.Kind == source.Host {
				break
			}
			all = append(all, Case{Lab: l, Variant: source.Variant{Solved: len(l.Todos)}, Kernel: k})
		}
		all = append(all, recording{l})
	}
	return append(all, text{l})
}

// recording proves that pictures and the trace are current.
type recording struct{ l *source.Lab }

func (r recording) Name() string     { return fmt.Sprintf("lab %d, picture and trace", r.l.Number) }
func (r recording) lab() *source.Lab { return r.l }
func (r recording) On() string       { return "" }

func (r recording) Run(ctx context.Context, t grade.Tools, progress io.Writer) error {
	fresh, err := Record(ctx, t, r.l, progress)
	if err != nil {
		return err
	}
	return fresh.Stale(r.l)
}

// An Outcome says how a proof went.
type Outcome struct {
	Proof    Proof
	Err      error
	Repeated bool // it has passed before, with the very same files
	Took     time.Duration
}

// Run runs proofs, some at once, and tells of each as it ends. Those that have
// passed with the very same files are not run again, unless fresh says so.
func Run(ctx context.Context, t grade.Tools, proofs []Proof, places int, fresh bool, progress io.Writer, tell func(Outcome)) error {
	var told sync.Mutex
	r := runner{tools: t, keys: &keys{tools: t, known: map[string]string{}}, fresh: fresh, progress: progress, tell: func(o Outcome) {
		told.Lock()
		defer told.Unlock()
		tell(o)
	}}
	jobs := make(chan []Proof)
	var workers sync.WaitGroup
	for range places {
		workers.Go(func() {
			for job := range jobs {
				r.some(ctx, job)
			}
		})
	}
	for _, job := range together(proofs) {
		if ctx.Err() != nil {
			break
		}
		jobs <- job
	}
	close(jobs)
	workers.Wait()
	return ctx.Err()
}

// together makes jobs of proofs, in order. Cases that share a machine are one: to
// get a place for it, and to start it, takes as long as to check some of them.
func together(proofs []Proof) [][]Proof {
	const most = 30
	var jobs [][]Proof
	var last Case // of the last job
	for _, p := range proofs {
		c, ok := p.(Case)
		ok = ok && !c.crashes() && c.Lab.Kind != source.Host
		if n := len(jobs); ok && last.Lab != nil && c.Kernel == last.Kernel && grade.Together(c.Lab, last.Lab) && len(jobs[n-1]) < most {
			jobs[n-1] = append(jobs[n-1], p)
			continue
		}
		jobs = append(jobs, []Proof{p})
		last = Case{}
		if ok {
			last = c
		}
	}
	return jobs
}

// A runner runs proofs.
type runner struct {
	tools    grade.Tools
	keys     *keys
	fresh    bool
	progress io.Writer
	tell     func(Outcome)
}

// some runs the proofs of a job.
func (r runner) some(ctx context.Context, job []Proof) {
	begun := time.Now()
	var open []Proof
	for _, p := range job {
		key, err := r.keys.of(ctx, p)
		if err != nil {
			r.tell(Outcome{Proof: p, Err: err})
			continue
		}
		mark := filepath.Join(r.tools.Cache, "proofs", key)
		if _, err := os.Stat(mark); err == nil && !r.fresh {
			now := time.Now()
			_ = os.Chtimes(mark, now, now)
			r.tell(Outcome{Proof: p, Repeated: true})
			continue
		}
		open = append(open, p)
	}
	if len(open) > 1 {
		// What is not as it has to be, for whatever reason, is run alone.
		var wrong []Proof
		if errs, err := runCases(ctx, r.tools, open, r.progress); err == nil {
			took := time.Since(begun) / time.Duration(len(open))
			for i, p := range open {
				if errs[i] == nil {
					r.tell(Outcome{Proof: p, Err: r.remember(ctx, p), Took: took})
				} else {
					wrong = append(wrong, p)
				}
			}
			open = wrong
		}
	}
	for _, p := range open {
		if ctx.Err() != nil {
			return
		}
		begun := time.Now()
		err := p.Run(ctx, r.tools, r.progress)
		if err == nil {
			err = r.remember(ctx, p)
		}
		r.tell(Outcome{Proof: p, Err: err, Took: time.Since(begun)})
	}
}

// remember notes that a proof has passed. What it depends on is looked up again:
// the kernel may have been downloaded only now.
func (r runner) remember(ctx context.Context, p Proof) error {
	key, err := r.keys.of(ctx, p)
	if err != nil {
		return err
	}
	return source.WriteFile(filepath.Join(r.tools.Cache, "proofs", key), []byte(p.Name()+"\n"))
}

// keys name proofs by all that they depend on.
type keys struct {
	tools grade.Tools
	mu    sync.Mutex
	known map[string]string // hashes of packages
}

// of is the key of a proof.
func (k *keys) of(ctx context.Context, p Proof) (string, error) {
	version, err := k.tools.KernelVersion(ctx, p.On())
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintln(h, p.Name(), version)
	// What is written beside the code cannot change how the code runs.
	names := []string{"lab.yaml", "kernel", "user", "c", "check"}
	packages := []string{"./labs/internal/grade", "./vm-test/cmd/nlvm", "./vm-test/agent"}
	switch p.(type) {
	case recording:
		names = append(names, pictureText, pictureSVG, traceText)
		packages = append(packages, "./labs/internal/draw", "./cmd/nlctl")
	case text:
		// It may call any of our commands.
		names = append(names, "README.md", pictureText, traceText)
		packages = append(packages, "./labs/cmd/...", "./cmd/...")
	}
	files := []string{filepath.Join(k.tools.Tree, "labs/internal/prove")}
	for _, name := range names {
		files = append(files, filepath.Join(p.lab().Dir, name))
	}
	for _, file := range files {
		if err := grade.HashFiles(h, file); err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
	}
	used, err := k.packages(ctx, false, packages...)
	if err != nil {
		return "", err
	}
	fmt.Fprintln(h, used)
	if p.lab().Graded() {
		if used, err = k.packages(ctx, true, "./labs/src/"+p.lab().ID+"/check"); err != nil {
			return "", err
		}
		fmt.Fprintln(h, used)
	}
	return hex.EncodeToString(h.Sum(nil)[:20]), nil
}

// packages is a hash of packages and what they are made of, which nobody changes
// while proofs run.
func (k *keys) packages(ctx context.Context, tests bool, packages ...string) (string, error) {
	name := strings.Join(packages, " ")
	k.mu.Lock()
	defer k.mu.Unlock()
	if hash, ok := k.known[name]; ok {
		return hash, nil
	}
	h := sha256.New()
	if err := k.tools.HashPackages(ctx, h, tests, packages...); err != nil {
		return "", err
	}
	k.known[name] = hex.EncodeToString(h.Sum(nil))
	return k.known[name], nil
}
