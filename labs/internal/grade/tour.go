// SPDX-License-Identifier: MIT

package grade

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"nlpeer/labs/internal/source"
)

// Tour builds a lab that has nothing to be solved, runs what it shows, each
// command in a machine of its own, and tells of it on out. An error is also
// that a command did not end as it has to.
func (t Tools) Tour(ctx context.Context, lab *source.Lab, dir string, o Options, out io.Writer) error {
	to, err := t.targetOf(ctx, lab, o.Kernel)
	if err != nil {
		return err
	}
	temp, err := os.MkdirTemp("", "nllab-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	p, err := t.build(ctx, lab, dir, temp, to, o.Progress)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Lab %d: %s\n", lab.Number, lab.Title)
	for _, stop := range lab.Tour {
		fmt.Fprintf(out, "\n%s\n", fold(stop.Say, "", 0))
		if stop.Do == "" {
			continue
		}
		fmt.Fprintf(out, "$ %s\n", stop.Do)
		args := append(p.withPrograms(t.machine(lab, o.Kernel)), "--no-commands", "--timeout", o.limit().String(), "--", "sh", "-c", stop.Do)
		cmd := exec.CommandContext(ctx, t.NLVM, args...)
		cmd.Env = t.environment()
		interruptible(cmd)
		words := &words{to: o.Progress}
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, words
		err := cmd.Run()
		var exit *exec.ExitError
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && !errors.As(err, &exit):
			return err
		}
		if _, err := out.Write(said.Bytes()); err != nil {
			return err
		}
		status := cmd.ProcessState.ExitCode()
		crash := readCrash(words.rest(), debugFiles(p))
		switch {
		case stop.Crash && status == statusPanic && crash != nil:
			fmt.Fprintf(out, "The kernel crashed:\n%s", crash.text())
		case stop.Crash:
			return fmt.Errorf("%q was to crash the machine, and ended with status %d\n%s", stop.Do, status, words.rest())
		case status != 0:
			return fmt.Errorf("%q ended with status %d\n%s", stop.Do, status, strings.TrimRight(words.rest(), "\n"))
		}
	}
	return nil
}
