// SPDX-License-Identifier: MIT

package student

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"nlpeer/labs/internal/source"
)

// A BusyError says that another nllab is at work in the folder.
type BusyError struct {
	Holder string // what it said of itself
}

func (e *BusyError) Error() string {
	return "another nllab is at work in this folder (" + e.Holder + "); wait until it has ended, or end it"
}

// Lock makes sure that nobody else runs a lab of the folder, or replaces its
// files. what is for others to read.
func (r Root) Lock(what string) (unlock func(), err error) {
	f, err := r.open("lock")
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		holder, _ := os.ReadFile(f.Name())
		f.Close()
		return nil, &BusyError{Holder: strings.TrimSpace(string(holder))}
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = fmt.Fprintf(f, "process %d: nllab %s\n", os.Getpid(), what)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	// The file stays: a lock on one that was removed would be nobody's.
	return func() { f.Close() }, nil
}

// open opens a file that is there to be locked.
func (r Root) open(name string) (*os.File, error) {
	if err := os.MkdirAll(r.state(""), 0o755); err != nil {
		return nil, err
	}
	return os.OpenFile(r.state(name), os.O_RDWR|os.O_CREATE, 0o644)
}

// Update changes what is remembered, one nllab after the other.
func (r Root) Update(change func(*Progress)) error {
	f, err := r.open("progress.lock")
	if err != nil {
		return err
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	p, err := r.Progress()
	if err != nil {
		return err
	}
	change(&p)
	text, err := p.text()
	if err != nil {
		return err
	}
	// A write that fails half-way must not cost what was there.
	fresh := r.state("progress.new")
	if err := source.WriteFile(fresh, text); err != nil {
		return errors.Join(err, os.Remove(fresh))
	}
	return os.Rename(fresh, r.state("progress.json"))
}
