// SPDX-License-Identifier: MIT

package prove

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"nlpeer/labs/internal/draw"
	"nlpeer/labs/internal/grade"
	"nlpeer/labs/internal/source"
)

// The files of a lab that are made by running its solution.
const (
	pictureText = "picture.txt"
	pictureSVG  = "picture.svg"
	traceText   = "trace.txt"
)

// Recorded are the contents of those files, "" for none.
type Recorded struct {
	Picture, SVG, Trace string
}

// Record runs the solution of a lab and makes the files anew.
func Record(ctx context.Context, t grade.Tools, l *source.Lab, progress io.Writer) (Recorded, error) {
	var r Recorded
	dir, err := os.MkdirTemp("", "nllab-")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(dir)
	if err := Write(l, source.All, dir); err != nil {
		return r, err
	}
	o := grade.Options{Progress: progress}
	if l.Graded() {
		d, err := t.Picture(ctx, l, dir, o)
		if err != nil {
			return r, err
		}
		r.Picture, r.SVG = draw.Text(d), draw.SVG(d)
	}
	if l.Trace.Command != "" {
		if r.Trace, err = t.Trace(ctx, l, dir, o); err != nil {
			return r, err
		}
	}
	return r, nil
}

// Save writes them into the lab's source. A trace that was shortened there, and is
// still true, stays.
func (r Recorded) Save(l *source.Lab) error {
	for name, text := range map[string]string{pictureText: r.Picture, pictureSVG: r.SVG, traceText: r.Trace} {
		if text == "" || name == traceText && r.staleTrace(l) == nil {
			continue
		}
		if err := source.WriteFile(filepath.Join(l.Dir, name), []byte(text)); err != nil {
			return err
		}
	}
	return nil
}

// Stale says which of the lab's files are not what a run gives today. Of a trace
// everything that is in the file has to be in the run, in that order.
func (r Recorded) Stale(l *source.Lab) error {
	for name, text := range map[string]string{pictureText: r.Picture, pictureSVG: r.SVG} {
		file, err := os.ReadFile(filepath.Join(l.Dir, name))
		if err != nil && text != "" {
			return err
		}
		if string(file) != text {
			return fmt.Errorf("%s of lab %d is not current; run: nllab generate --record %d", name, l.Number, l.Number)
		}
	}
	return r.staleTrace(l)
}

func (r Recorded) staleTrace(l *source.Lab) error {
	if r.Trace == "" {
		return nil
	}
	file, err := os.ReadFile(filepath.Join(l.Dir, traceText))
	if err != nil {
		return err
	}
	if len(file) == 0 {
		return fmt.Errorf("%s of lab %d is empty", traceText, l.Number)
	}
	if missing := grade.Missing(string(file), r.Trace); missing != "" {
		return fmt.Errorf("%s of lab %d: the kernel does not call %s; it calls\n%s", traceText, l.Number, missing, r.Trace)
	}
	return nil
}
