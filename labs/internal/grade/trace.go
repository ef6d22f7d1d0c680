// SPDX-License-Identifier: MIT

package grade

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"

	"nlpeer/labs/internal/source"
)

// Trace runs a lab's command in a guest under the kernel's function tracer, and
// returns the functions that were called, a line each, indented under their
// callers.
func (t Tools) Trace(ctx context.Context, lab *source.Lab, dir string, o Options) (string, error) {
	if lab.Trace.Command == "" {
		return "", fmt.Errorf("lab %d has nothing to trace", lab.Number)
	}
	to, err := t.targetOf(ctx, lab, o.Kernel)
	if err != nil {
		return "", err
	}
	temp, err := os.MkdirTemp("", "nllab-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temp)
	p, err := t.build(ctx, lab, dir, temp, to, o.Progress)
	if err != nil {
		return "", err
	}
	trace := "nlctl trace --to /tmp/trace"
	if lab.Trace.AllTasks {
		trace += " --all-tasks"
	}
	for _, f := range lab.Trace.Functions {
		trace += " --functions '" + f + "'"
	}
	script := `for m in kernel/*.ko; do [ ! -e "$m" ] || insmod "$m" || exit 1; done
` + trace + ` -- sh -c "$TRACED" >/tmp/said 2>&1 || { cat /tmp/said >&2; exit 1; }
cat /tmp/trace
for m in kernel/*.ko; do [ ! -e "$m" ] || rmmod "$m" || exit 1; done`
	args := append(p.withPrograms(t.machine(lab, o.Kernel)), "--env", "TRACED="+lab.Trace.Command, "--timeout", o.limit().String(), "--", "sh", "-c", script)
	cmd := exec.CommandContext(ctx, t.NLVM, args...)
	cmd.Env = t.environment()
	interruptible(cmd)
	words := &words{to: o.Progress}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, words
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case errors.As(err, &exit):
		return "", fmt.Errorf("tracing %q ended with status %d\n%s", lab.Trace.Command, exit.ExitCode(), strings.TrimRight(words.rest(), "\n"))
	case err != nil:
		return "", err
	}
	return calls(out.String()), nil
}

// traced is a call in the output of nlctl trace: time, duration, indentation,
// function, module.
var traced = regexp.MustCompile(`(?m)^\d+\.\d{6} +(?:\d+\.\d{3} us|unfinished)  ( *)([^\s.]+)\S*( \[\S+\])?.*\n`)

// calls leaves of a trace what is the same the next time: not the times, nor
// what the compiler adds to names.
func calls(trace string) string {
	var b strings.Builder
	for _, m := range traced.FindAllStringSubmatch(trace, -1) {
		b.WriteString(m[1] + m[2] + m[3] + "\n")
	}
	return b.String()
}

// Paths returns for each call of a trace the functions that lead to it.
func Paths(trace string) []string {
	var all, path []string
	for line := range strings.Lines(trace) {
		function := strings.TrimLeft(line, " ")
		depth := (len(line) - len(function)) / 2
		path = append(path[:min(len(path), depth)], strings.TrimSpace(function))
		all = append(all, strings.Join(path, " > "))
	}
	return all
}

// Missing returns the first call of a recorded trace that a fresh one has not,
// at that place of the order; "" if all are there.
func Missing(recorded, fresh string) string {
	want := Paths(recorded)
	for _, path := range Paths(fresh) {
		if len(want) > 0 && path == want[0] {
			want = want[1:]
		}
	}
	if len(want) == 0 {
		return ""
	}
	return want[0]
}
