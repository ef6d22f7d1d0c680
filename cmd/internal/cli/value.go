// SPDX-License-Identifier: MIT

package cli

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// A value is a flag whose text is parsed by a function.
type value[T any] struct {
	to    *T
	parse func(string) (T, error)
	text  string
}

func (v *value[T]) Set(s string) error {
	x, err := v.parse(s)
	if err != nil {
		return err
	}
	*v.to, v.text = x, s
	return nil
}

func (v *value[T]) String() string { return v.text }
func (v *value[T]) Type() string   { return "value" }

// Var defines a flag that parse understands. byDefault is the text that help
// shows for the value that *to has now. Usage names the argument in
// backquotes.
func Var[T any](flags *pflag.FlagSet, to *T, parse func(string) (T, error), name, short, byDefault, usage string) {
	flags.VarP(&value[T]{to: to, parse: parse, text: byDefault}, name, short, usage)
}

// A Format is how output is written.
type Format int

// The formats.
const (
	Text Format = iota
	JSON
)

// formats are the names of the formats in their order.
var formats = []string{"text", "json"}

func parseFormat(s string) (Format, error) {
	for i, name := range formats {
		if s == name {
			return Format(i), nil
		}
	}
	return 0, fmt.Errorf("must be %s", strings.Join(formats, " or "))
}

// ParseCount parses how many: 1 or more.
func ParseCount(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n == 0 {
		return 0, errors.New("must be a whole number, 1 or more")
	}
	return n, nil
}

// units are the suffixes of a size.
var units = map[byte]int{'K': 1 << 10, 'M': 1 << 20, 'G': 1 << 30}

// Size returns a parser of sizes in bytes from low to high: 4096, 64K, 1M.
func Size(low, high int) func(string) (int, error) {
	return func(s string) (int, error) {
		digits, unit := s, 1
		if s != "" {
			if u := units[s[len(s)-1]&^0x20]; u != 0 {
				digits, unit = s[:len(s)-1], u
			}
		}
		n, err := strconv.ParseUint(digits, 10, 63)
		switch {
		case errors.Is(err, strconv.ErrRange) || err == nil && (n > math.MaxInt64/uint64(unit) || n*uint64(unit) > uint64(high) || n*uint64(unit) < uint64(low)):
			return 0, fmt.Errorf("must be %d to %d bytes", low, high)
		case err != nil:
			return 0, errors.New("must be a number of bytes, such as 4096, 64K or 1M")
		}
		return int(n) * unit, nil
	}
}

// Seconds returns a parser of durations from low to high: seconds, such as 2 or
// 0.5, or Go's way of writing them, such as 500ms or 1m30s.
func Seconds(low, high time.Duration) func(string) (time.Duration, error) {
	return func(s string) (time.Duration, error) {
		d, err := time.ParseDuration(s)
		if _, ferr := strconv.ParseFloat(s, 64); ferr == nil && strings.Trim(s, "+-.0123456789") == "" {
			// A bare number. One that is too large for ParseDuration is so for us.
			if d, err = time.ParseDuration(s + "s"); err != nil {
				d, err = math.MaxInt64, nil
			}
		}
		switch {
		case err != nil:
			return 0, errors.New("must be seconds, such as 2 or 0.5, or a duration, such as 500ms or 1m30s")
		case d < low || d > high:
			return 0, fmt.Errorf("must be %s to %s", Duration(low), Duration(high))
		}
		return d, nil
	}
}

// Duration writes d as people do: 1h, not 1h0m0s.
func Duration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-len("0s")]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-len("0m")]
	}
	return s
}

// MaxDuration is the longest time that may be asked for, so that no sum
// overflows.
const MaxDuration = 10000 * time.Hour
