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
	k := &keys{tools: t, known: map[string]string{}}
	jobs := make(chan Proof)
	var told sync.Mutex
	var workers sync.WaitGroup
	for range places {
		workers.Go(func() {
			for p := range jobs {
				o := one(ctx, t, k, p, fresh, progress)
				told.Lock()
				tell(o)
				told.Unlock()
			}
		})
	}
	for _, p := range proofs {
		if ctx.Err() != nil {
			break
		}
		jobs <- p
	}
	close(jobs)
	workers.Wait()
	return ctx.Err()
}

func one(ctx context.Context, t grade.Tools, k *keys, p Proof, fresh bool, progress io.Writer) Outcome {
	begun := time.Now()
	key, err := k.of(ctx, p)
	if err != nil {
		return Outcome{Proof: p, Err: err}
	}
	mark := filepath.Join(t.Cache, "proofs", key)
	if _, err := os.Stat(mark); err == nil && !fresh {
		now := time.Now()
		_ = os.Chtimes(mark, now, now)
		return Outcome{Proof: p, Repeated: true}
	}
	if err := p.Run(ctx, t, progress); err != nil {
		return Outcome{Proof: p, Err: err, Took: time.Since(begun)}
	}
	// Once more: the kernel may have been downloaded only now.
	if key, err = k.of(ctx, p); err == nil {
		err = source.WriteFile(filepath.Join(t.Cache, "proofs", key), []byte(p.Name()+"\n"))
	}
	return Outcome{Proof: p, Err: err, Took: time.Since(begun)}
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
