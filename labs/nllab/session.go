// SPDX-License-Identifier: MIT

package nllab

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"nlpeer/labs/internal/grade"
	"nlpeer/labs/internal/source"
	"nlpeer/labs/internal/student"
)

// A session is what a command works with.
type session struct {
	tools grade.Tools
	labs  []*source.Lab
	root  student.Root // of the student's folder; its Dir is "" without one
}

// session finds it all. A student's folder need not be there for everything.
func (a *app) session(needRoot bool) (*session, error) {
	root, err := student.Find(cmp.Or(a.dir, "."))
	if err != nil && (needRoot || !errors.Is(err, student.ErrNoRoot)) {
		return nil, err
	}
	tools, err := grade.FindTools(root.Tree)
	if err != nil {
		return nil, err
	}
	labs, err := source.Course(tools.LabsDir())
	if err != nil {
		return nil, err
	}
	return &session{tools: tools, labs: labs, root: root}, nil
}

// lab finds the lab that an argument means: its number, or its folder's name.
func (s *session) lab(arg string) (*source.Lab, error) {
	for _, l := range s.labs {
		if arg == l.ID || arg == l.Name {
			return l, nil
		}
	}
	n, err := strconv.Atoi(arg)
	if err != nil {
		return nil, usagef("%q is no number of a lab", arg)
	}
	l, err := source.Find(s.labs, n)
	if err != nil {
		return nil, usageError{err}
	}
	return l, nil
}

// folder is where a student's files of a lab are.
func (s *session) folder(l *source.Lab) (string, error) {
	dir := s.root.Lab(l)
	st, err := os.Stat(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "", fmt.Errorf("%s is not there; to make it: nllab reset %d", shorten(dir), l.Number)
	case err != nil:
		return "", err
	case !st.IsDir():
		return "", fmt.Errorf("%s is a file, and should be the folder of lab %d", shorten(dir), l.Number)
	}
	return shorten(dir), nil
}

// shorten makes a path relative to the current folder, if that is below it.
func shorten(path string) string {
	here, err := os.Getwd()
	if err != nil || !filepath.IsAbs(path) {
		return path
	}
	if rel, err := filepath.Rel(here, path); err == nil && !strings.HasPrefix(rel, "..") {
		return rel
	}
	return path
}

// oneLab is the argument of most commands.
func oneLab(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usagef("give the number of one lab; nllab list shows them")
	}
	return nil
}

// completeLab completes the number of a lab.
func (a *app) completeLab(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	s, err := a.session(false)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var numbers []string
	for _, l := range s.labs {
		numbers = append(numbers, fmt.Sprintf("%d\t%s", l.Number, l.Title))
	}
	return numbers, cobra.ShellCompDirectiveNoFileComp
}
