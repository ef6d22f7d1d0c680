// SPDX-License-Identifier: MIT

package kernel

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Progress tells a waiting person what takes so long: one line when something
// starts and one when it is done. The zero value is silent.
type Progress struct {
	W    io.Writer
	File *os.File // where W writes to, nil if that is no file
}

// Start announces a piece of work. The returned function reports its end.
func (p *Progress) Start(format string, args ...any) func(detail string) {
	if p == nil || p.W == nil {
		return func(string) {}
	}
	what := fmt.Sprintf(format, args...)
	fmt.Fprintf(p.W, "nlvm: %s …\n", what)
	start := time.Now()
	return func(detail string) {
		if detail != "" {
			detail += ", "
		}
		fmt.Fprintf(p.W, "nlvm: %s: done (%s%.1f s)\n", what, detail, time.Since(start).Seconds())
	}
}

// Warn tells what the compiler warned of, if it did.
func (p *Progress) Warn(text string, err error) {
	if p != nil && p.W != nil && text != "" && err == nil {
		fmt.Fprintf(p.W, "nlvm: the compiler warns:\n%s\n", text)
	}
}

// Terminal is the terminal that progress is shown on, nil if it is none.
func (p *Progress) Terminal() *os.File {
	if p == nil || p.File == nil {
		return nil
	}
	if _, err := unix.IoctlGetTermios(int(p.File.Fd()), unix.TCGETS); err != nil {
		return nil
	}
	return p.File
}
