// SPDX-License-Identifier: MIT

package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// A program is a contender of its own: it reads "CASE SIZE BATCH COUNT" from its
// standard input and answers each line by "NANOSECONDS OPERATIONS", "skip REASON"
// or "error TEXT"; "list" asks for the cases that it knows.
type program struct {
	name  string
	cases []string
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
	said  strings.Builder // on its standard error
	ended func() error
}

// yardstick is the program that all others are compared with. It and the one for
// the ways that are not netlink are one contender: C and system calls.
const (
	yardstick     = "c-sendrecv"
	YardstickName = "c"
	// others is the program of the ways that are not netlink.
	others = "c-other"
)

// programAnswer is how long a program may take for a line. Its own time limits
// are shorter.
const programAnswer = 5 * time.Minute

// startPrograms starts all contenders in a folder, the yardstick first.
func startPrograms(ctx context.Context, dir string) (programs []*program, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "c-*"))
	if err != nil {
		return nil, err
	}
	slices.SortFunc(files, func(a, b string) int {
		if first := filepath.Base(a) == yardstick; first != (filepath.Base(b) == yardstick) {
			if first {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	if len(files) == 0 {
		return nil, fmt.Errorf("no contenders in C in %s", dir)
	}
	defer func() {
		if err != nil {
			for _, p := range programs {
				p.close()
			}
		}
	}()
	for _, f := range files {
		p, err := startProgram(ctx, f)
		if err != nil {
			return programs, err
		}
		programs = append(programs, p)
	}
	return programs, nil
}

func startProgram(ctx context.Context, file string) (*program, error) {
	p := &program{name: filepath.Base(file), cmd: exec.CommandContext(ctx, file)}
	if p.name == yardstick || p.name == others {
		p.name = YardstickName
	}
	p.cmd.Stderr = &p.said
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.in, p.out = in, bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", p.name, err)
	}
	p.ended = sync.OnceValue(p.cmd.Wait)
	list, err := p.ask("list")
	if err != nil {
		p.close()
		return nil, err
	}
	p.cases = strings.Fields(list)
	return p, nil
}

// close ends it by the end of its input.
func (p *program) close() {
	p.in.Close()
	_ = p.ended()
}

// ask sends a line and returns the answer.
func (p *program) ask(line string) (string, error) {
	limit := time.AfterFunc(programAnswer, func() { _ = p.cmd.Process.Kill() })
	defer limit.Stop()
	_, err := io.WriteString(p.in, line+"\n")
	var answer string
	if err == nil {
		answer, err = p.out.ReadString('\n')
	}
	if err != nil {
		if end := p.ended(); end != nil {
			err = end
		} else if errors.Is(err, io.EOF) {
			err = errors.New("it has ended")
		}
		if said := strings.TrimSpace(p.said.String()); said != "" {
			err = fmt.Errorf("%w: %s", err, said)
		}
		return "", fmt.Errorf("%s, asked %q: %w", p.name, line, err)
	}
	return strings.TrimSpace(answer), nil
}

// open makes a case the program's own, in its words.
func (p *program) open(_ context.Context, b *Bench, c Case) (sampler, func(), error) {
	name, size, batch := programCase(c)
	if !slices.Contains(p.cases, name) {
		return nil, nil, errNotHere
	}
	if c.Name == Dump {
		if err := b.fill(context.Background(), c); err != nil {
			return nil, nil, err
		}
	}
	return func(n int, m *meter) error {
		if c.Name == Dump {
			n = max(1, n/c.N) // they count dumps
		}
		n = (n + batch - 1) / batch * batch
		return p.run(fmt.Sprintf("%s %d %d %d", name, size, batch, n), m)
	}, nil, nil
}

func (p *program) run(line string, m *meter) error {
	answer, err := p.ask(line)
	if err != nil {
		return err
	}
	if reason, ok := strings.CutPrefix(answer, "skip "); ok {
		return skip(reason)
	}
	if text, ok := strings.CutPrefix(answer, "error "); ok {
		return errors.New(text)
	}
	var elapsed, ops int64
	if _, err := fmt.Sscanf(answer, "%d %d", &elapsed, &ops); err != nil || ops <= 0 {
		return fmt.Errorf("%s, asked %q, says %q", p.name, line, answer)
	}
	m.elapsed += time.Duration(elapsed)
	m.ops += ops
	m.program = true
	return nil
}

// programCase is what programs call a case, with what they call its size and
// batch.
func programCase(c Case) (name string, size, batch int) {
	name, size, batch = c.Name, c.Size, max(1, c.Batch)
	switch c.Name {
	case Echo:
		switch {
		case !c.netlink():
			name = c.Carrier
		case c.Carrier != "raw":
			name += "-" + c.Carrier
		}
	case Receive:
		name = "recv"
		if c.Batch > 1 {
			name = "recv-packed"
		}
	case Dump:
		size = c.N
		if c.Carrier != "raw" {
			name += "-" + c.Carrier
		}
	case Syscall:
		if c.Carrier == "ioctl" {
			name = "ioctl-null"
		}
	default:
		name += "-" + c.Carrier
	}
	return name, size, batch
}
