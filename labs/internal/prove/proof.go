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
	"runtime"
	"slices"
	"sync"
	"time"

	"nlpeer/labs/internal/grade"
	"nlpeer/labs/internal/source"
)

// A Proof is one thing that has to be so.
type Proof interface {
	Name() string
	Run(ctx context.Context, t grade.Tools, progress io.Writer) error
	lab() *source.Lab
	kernel() string
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
func (r recording) kernel() string   { return "" }

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
	shared, err := sharedKey(t)
	if err != nil {
		return err
	}
	jobs := make(chan Proof)
	var told sync.Mutex
	var workers sync.WaitGroup
	for range places {
		workers.Go(func() {
			for p := range jobs {
				o := one(ctx, t, p, shared, fresh, progress)
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

func one(ctx context.Context, t grade.Tools, p Proof, shared string, fresh bool, progress io.Writer) Outcome {
	begun := time.Now()
	kept := func() (string, error) {
		key, err := key(ctx, t, p, shared)
		return filepath.Join(t.Cache, "proofs", key), err
	}
	mark, err := kept()
	if err != nil {
		return Outcome{Proof: p, Err: err}
	}
	if _, err := os.Stat(mark); err == nil && !fresh {
		now := time.Now()
		_ = os.Chtimes(mark, now, now)
		return Outcome{Proof: p, Repeated: true}
	}
	if err := p.Run(ctx, t, progress); err != nil {
		return Outcome{Proof: p, Err: err, Took: time.Since(begun)}
	}
	// Once more: the kernel may have been downloaded only now.
	if mark, err = kept(); err == nil {
		err = source.WriteFile(mark, []byte(p.Name()+"\n"))
	}
	return Outcome{Proof: p, Err: err, Took: time.Since(begun)}
}

// key names a proof and all that it depends on.
func key(ctx context.Context, t grade.Tools, p Proof, shared string) (string, error) {
	version, err := t.KernelVersion(ctx, p.kernel())
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintln(h, shared, p.Name(), version)
	// What is written beside the code cannot change how the code runs.
	names := []string{"lab.yaml", "kernel", "user", "c", "check"}
	switch p.(type) {
	case text, recording:
		names = append(names, "README.md", pictureText, pictureSVG, traceText)
	}
	for _, name := range names {
		if err := grade.HashFiles(h, filepath.Join(p.lab().Dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:20]), nil
}

// sharedKey changes with whatever all proofs depend on.
func sharedKey(t grade.Tools) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version())
	for _, name := range []string{
		"go.mod", "go.sum", "VERSION", "labs/check", "labs/internal", "labs/cmd", "pkg", "cmd",
		"vm-test/cmd/nlvm", "vm-test/internal", "vm-test/agent",
	} {
		if err := grade.HashFiles(h, filepath.Join(t.Tree, name)); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
