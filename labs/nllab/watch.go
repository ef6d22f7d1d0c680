// SPDX-License-Identifier: MIT

package nllab

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"nlpeer/labs/internal/grade"
	"nlpeer/labs/internal/source"
	"nlpeer/labs/internal/student"
)

// glance is how often watch looks at the files. A look is some system calls.
const glance = 200 * time.Millisecond

func (a *app) watch() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "watch [flags] N",
		Short: "check a lab again each time that a file is saved",
		Long: `Watch does what run does, now and each time that a file of the lab changes. A
check that still runs by then is given up. Ctrl-C ends it.`,
		Example:           "  nllab watch 3",
		Args:              oneLab,
		ValidArgsFunction: a.completeLab,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.session(f.folder == "")
			if err != nil {
				return err
			}
			l, err := s.lab(args[0])
			if err != nil {
				return err
			}
			folder := f.folder
			if folder == "" {
				if folder, err = s.folder(l); err != nil {
					return err
				}
			}
			return a.watchFolder(cmd.Context(), s, l, folder, f)
		},
	}
	f.register(cmd)
	return cmd
}

func (a *app) watchFolder(ctx context.Context, s *session, l *source.Lab, folder string, f runFlags) error {
	for {
		seen := look(folder)
		running, cancel := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- a.check(running, s, l, f) }()
		err := a.until(ctx, folder, seen, done, cancel)
		cancel()
		var refused *grade.CompileError
		switch {
		case ctx.Err() != nil:
			// How one leaves it.
			fmt.Fprintln(a.err, "nllab: no longer watching")
			return nil
		case errors.As(err, new(status)), errors.Is(err, context.Canceled), err == nil:
		case errors.As(err, &refused):
			fmt.Fprintf(a.out, "%s does not compile:\n\n%s", refused.What, withNewline(refused.Text))
		case errors.As(err, new(*student.BusyError)):
			fmt.Fprintf(a.err, "nllab: %v\n", err)
		default:
			return err
		}
		fmt.Fprintf(a.out, "\n--- watching %s; Ctrl-C ends it\n", folder)
		for look(folder) == seen {
			select {
			case <-ctx.Done():
				fmt.Fprintln(a.err, "nllab: no longer watching")
				return nil
			case <-time.After(glance):
			}
		}
	}
}

// until waits for the end of a check, and gives it up if the files change.
func (a *app) until(ctx context.Context, folder string, seen uint64, done <-chan error, cancel func()) error {
	for {
		select {
		case err := <-done:
			return err
		case <-time.After(glance):
			if ctx.Err() == nil && look(folder) != seen {
				cancel()
			}
		}
	}
}

// look is a number that changes with the files of a folder. What editors write
// beside them does not count.
func look(folder string) uint64 {
	h := fnv.New64()
	for _, dir := range source.StudentDirs {
		_ = filepath.WalkDir(filepath.Join(folder, dir), func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), ".") || strings.HasSuffix(d.Name(), "~") {
				return nil
			}
			if info, err := d.Info(); err == nil {
				fmt.Fprintln(h, name, info.Size(), info.ModTime().UnixNano())
			}
			return nil
		})
	}
	return h.Sum64()
}
