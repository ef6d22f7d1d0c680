// SPDX-License-Identifier: MIT

package prove

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"nlpeer/labs/internal/grade"
	"nlpeer/labs/internal/source"
	"nlpeer/labs/internal/student"
)

// text proves that the commands that a lab's text shows do what it shows. They
// are run in a student's folder in which the lab is solved. Those of a block
//
//	```console skeleton
//
// are run where it is not, and the last of them fails.
type text struct{ l *source.Lab }

func (x text) Name() string     { return fmt.Sprintf("lab %d, commands of the text", x.l.Number) }
func (x text) lab() *source.Lab { return x.l }
func (x text) On() string       { return "" }

// A shown command is one of the text, with the output below it.
type shown struct {
	line     string
	output   []string
	skeleton bool
	last     bool // of its block
}

var console = regexp.MustCompile("(?ms)^```console( skeleton)?\n(.*?)^```\n")

// commands finds the commands of a text.
func commands(readme []byte) []shown {
	var all []shown
	for _, m := range console.FindAllStringSubmatch(string(readme), -1) {
		for line := range strings.Lines(m[2]) {
			line = strings.TrimSuffix(line, "\n")
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				all = append(all, shown{line: command, skeleton: m[1] != ""})
			} else if len(all) > 0 {
				all[len(all)-1].output = append(all[len(all)-1].output, line)
			}
		}
		if len(all) > 0 {
			all[len(all)-1].last = true
		}
	}
	return all
}

func (x text) Run(ctx context.Context, t grade.Tools, _ io.Writer) error {
	readme, err := x.l.Text()
	if err != nil {
		return err
	}
	temp, err := os.MkdirTemp("", "nllab-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	var folders [2]string
	for i, v := range []source.Variant{source.All, {}} {
		root, err := student.New(filepath.Join(temp, []string{"solved", "new"}[i]), t.Tree, []*source.Lab{x.l})
		if err != nil {
			return err
		}
		if err := Write(x.l, v, root.Lab(x.l)); err != nil {
			return err
		}
		folders[i] = root.Dir
	}
	for _, c := range commands(readme) {
		if strings.HasPrefix(c.line, "nllab watch") {
			continue // it does not end
		}
		dir := folders[0]
		if c.skeleton {
			dir = folders[1]
		}
		if err := c.run(ctx, t, dir); err != nil {
			return fmt.Errorf("$ %s\n%w", c.line, err)
		}
	}
	return nil
}

func (c shown) run(ctx context.Context, t grade.Tools, dir string) error {
	cmd := exec.CommandContext(ctx, "sh", "-c", c.line)
	cmd.Dir = dir
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(self)+":"+filepath.Dir(t.NLVM)+":"+os.Getenv("PATH"), "NLPEER_SRC="+t.Tree)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && !errors.As(err, &exit):
		return err
	case c.skeleton && c.last && err == nil:
		return fmt.Errorf("passes, where it has to fail:\n%s", out)
	case err != nil && !(c.skeleton && c.last):
		return fmt.Errorf("%w\n%s", err, out)
	}
	if missing := missingLine(c.output, string(out)); missing != "" {
		return fmt.Errorf("it does not print, at that place: %s\nbut\n%s", missing, out)
	}
	return nil
}

var (
	numbers = regexp.MustCompile(`0x[0-9a-f]+|[0-9][0-9.]*`)
	blanks  = regexp.MustCompile(`\s+`)
)

// sameShape is a line without what may be another the next time.
func sameShape(line string) string {
	return strings.TrimSpace(blanks.ReplaceAllString(numbers.ReplaceAllString(line, "N"), " "))
}

// missingLine returns the first line that is shown and not printed, at that
// place of the order, whatever the numbers; "" if all are there. Lines may be
// left out of what is shown, with an ellipsis in their place.
func missingLine(want []string, out string) string {
	lines := strings.Split(out, "\n")
	for _, w := range want {
		if s := sameShape(w); s == "" || s == "…" || s == "..." {
			continue
		}
		for len(lines) > 0 && sameShape(lines[0]) != sameShape(w) {
			lines = lines[1:]
		}
		if len(lines) == 0 {
			return w
		}
		lines = lines[1:]
	}
	return ""
}
