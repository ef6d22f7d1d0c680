// SPDX-License-Identifier: MIT

package student_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"nlpeer/labs/internal/source"
	"nlpeer/labs/internal/student"
)

const tree = "../../.."

func lab(t *testing.T) *source.Lab {
	t.Helper()
	l, err := source.Load(filepath.Join(tree, "labs/src/03-echo"))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func folder(t *testing.T, l *source.Lab) student.Root {
	t.Helper()
	r, err := student.New(filepath.Join(t.TempDir(), "mine"), tree, []*source.Lab{l})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestNewAndFind(t *testing.T) {
	l := lab(t)
	r := folder(t, l)
	found, err := student.Find(filepath.Join(r.Lab(l), "kernel"))
	if err != nil || found.Dir != r.Dir || found.Tree != tree {
		t.Errorf("found %+v, %v, want %+v", found, err, r)
	}
	if untouched, err := student.Untouched(l, r.Lab(l)); err != nil || !untouched {
		t.Errorf("a new lab is untouched: %v, %v", untouched, err)
	}
	if _, err := student.New(r.Dir, tree, nil); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("a second time in the same folder: %v", err)
	}
	if _, err := student.Find(t.TempDir()); !errors.Is(err, student.ErrNoRoot) {
		t.Errorf("in another folder: %v", err)
	}
	abs, err := filepath.Abs(tree)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := student.New(filepath.Join(abs, "build", "mine"), abs, nil); err == nil {
		t.Error("a folder in the source tree was made")
	}
	if place := student.Place(l, r.Lab(l), 3); !strings.HasPrefix(place, filepath.Join(r.Lab(l), "kernel/echo.c")+":") {
		t.Errorf("TODO 3 is at %q", place)
	}
}

// What a student has written survives a reset, whole, each time.
func TestResetLosesNothing(t *testing.T) {
	l := lab(t)
	r := folder(t, l)
	file := filepath.Join("kernel", "echo.c")
	more := filepath.Join("notes", "mine.txt")
	kept := map[string]string{}
	for _, text := range []string{"first", "second", "third"} {
		for _, name := range []string{file, more} {
			if err := source.WriteFile(filepath.Join(r.Lab(l), name), []byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		where, err := r.Reset(l, source.Variant{Solved: 2})
		if err != nil {
			t.Fatal(err)
		}
		kept[where] = text
	}
	if len(kept) != 3 {
		t.Errorf("three resets kept %d folders", len(kept))
	}
	for where, want := range kept {
		for _, name := range []string{file, more} {
			if got, err := os.ReadFile(filepath.Join(where, name)); err != nil || string(got) != want {
				t.Errorf("%s in %s: %q, %v, want %q", name, where, got, err, want)
			}
		}
	}
	got, err := os.ReadFile(filepath.Join(r.Lab(l), file))
	if err != nil || strings.Contains(string(got), "TODO(2)") || !strings.Contains(string(got), "TODO(3)") {
		t.Errorf("after a reset with two TODOs solved, %s is\n%s%v", file, got, err)
	}
	if err := os.RemoveAll(r.Lab(l)); err != nil {
		t.Fatal(err)
	}
	if where, err := r.Reset(l, source.Variant{}); err != nil || where != "" {
		t.Errorf("a reset of nothing: %q, %v", where, err)
	}
}

func TestLock(t *testing.T) {
	r := folder(t, lab(t))
	unlock, err := r.Lock("run 3")
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Lock("run 4")
	var busy *student.BusyError
	if !errors.As(err, &busy) || !strings.HasSuffix(busy.Holder, ": nllab run 3") {
		t.Errorf("a second lock: %v", err)
	}
	unlock()
	if unlock, err = r.Lock("run 4"); err != nil {
		t.Errorf("after the first has ended: %v", err)
	} else {
		unlock()
	}
}

// Changes of several at once are all remembered.
func TestUpdate(t *testing.T) {
	r := folder(t, lab(t))
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			err := r.Update(func(p *student.Progress) {
				mine := p.Labs[3]
				mine.Tries++
				p.Labs[3] = mine
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	p, err := r.Progress()
	if err != nil || p.Labs[3].Tries != 20 {
		t.Errorf("%+v, %v, want 20 tries", p, err)
	}
	broken := filepath.Join(r.Dir, ".nllab", "progress.json")
	if err := os.WriteFile(broken, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := r.Update(func(*student.Progress) {}); err == nil || !strings.Contains(err.Error(), "remove it to begin") {
		t.Errorf("with a broken file: %v", err)
	}
	if got, _ := os.ReadFile(broken); string(got) != "{" {
		t.Errorf("a broken file was replaced by %q", got)
	}
}
