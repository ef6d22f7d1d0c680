// SPDX-License-Identifier: MIT

// Package fuzzing ends fuzz targets that do not end by themselves. To go test an
// input that makes a parser loop for ever is nothing: when its time is up it kills
// the process and says PASS.
package fuzzing

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// HangFile is the name of a variable of the environment, and that of a file: an input
// without an end is written to it. Go test loses those that hang while its own time
// ends; it kills their process two seconds later. So the limit is a second then.
const HangFile = "NLPEER_FUZZ_HANG"

var hangFile = os.Getenv(HangFile)

// Limit begins with an input of a target, of which these are the arguments, and
// returns what ends it. In between the process panics, after far more time than any
// input needs:
//
//	defer fuzzing.Limit(b)()
func Limit(args ...any) (done func() bool) {
	limit := 10 * time.Second
	if hangFile != "" {
		limit = time.Second
	}
	return time.AfterFunc(limit, func() {
		text := corpusFile(args)
		if hangFile != "" {
			if err := write(hangFile, text); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}
		panic(fmt.Sprintf("no end after %v with this input:\n%s", limit, text))
	}).Stop
}

// write lets the first of several processes have the file.
func write(name, text string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

// corpusFile is an input as go test keeps it in testdata/fuzz.
func corpusFile(args []any) string {
	var b strings.Builder
	b.WriteString("go test fuzz v1\n")
	for _, a := range args {
		switch a := a.(type) {
		case []byte:
			fmt.Fprintf(&b, "[]byte(%q)\n", a)
		case string:
			fmt.Fprintf(&b, "string(%q)\n", a)
		default:
			fmt.Fprintf(&b, "%T(%v)\n", a, a)
		}
	}
	return b.String()
}
