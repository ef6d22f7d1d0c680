// SPDX-License-Identifier: MIT

package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// Terminal says whether r or w is a terminal, to be exact: a character device other
// than /dev/null, which is as much as can be told without a system call of our
// own.
func Terminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}

// Lines reads r, standard input, line by line in the background and sends the
// lines without their ends; it has one ready whenever it can. The channel is closed after the last one, and then
// the function returns why: nil at the end of input, or an error that names the
// line. A line of more than limit bytes is an error. It stops with ctx, as soon
// as a read returns.
func Lines(ctx context.Context, r io.Reader, limit int) (<-chan []byte, func() error) {
	lines := make(chan []byte, 1)
	var failed error
	go func() {
		defer close(lines)
		in := bufio.NewReaderSize(r, limit+len("\n"))
		for n := 1; ; n++ {
			line, err := in.ReadSlice('\n')
			switch {
			case errors.Is(err, bufio.ErrBufferFull):
				failed = fmt.Errorf("standard input: line %d is longer than %d bytes", n, limit)
				return
			case err == io.EOF && len(line) == 0:
				return
			case err != nil && err != io.EOF:
				failed = fmt.Errorf("standard input: line %d: %w", n, reason(err))
				return
			}
			if err == nil {
				line = line[:len(line)-1]
			}
			select {
			case lines <- append([]byte(nil), line...):
			case <-ctx.Done():
				return
			}
		}
	}()
	return lines, func() error { return failed }
}
