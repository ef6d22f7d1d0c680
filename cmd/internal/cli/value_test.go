// SPDX-License-Identifier: MIT

package cli_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"nlpeer/cmd/internal/cli"
	"nlpeer/internal/fuzzing"
)

func TestParseCount(t *testing.T) {
	for s, want := range map[string]uint64{"1": 1, "18446744073709551615": math.MaxUint64} {
		if got, err := cli.ParseCount(s); got != want || err != nil {
			t.Errorf("ParseCount(%q) = %v, %v, want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "0", "-1", "+1", "1.5", "ten", "0x10", "18446744073709551616", " 1"} {
		if got, err := cli.ParseCount(s); err == nil {
			t.Errorf("ParseCount(%q) = %v, want an error", s, got)
		}
	}
}

func TestSize(t *testing.T) {
	parse := cli.Size(1, 4<<20)
	for s, want := range map[string]int{"1": 1, "4096": 4096, "64K": 64 << 10, "64k": 64 << 10, "1M": 1 << 20, "4m": 4 << 20} {
		if got, err := parse(s); got != want || err != nil {
			t.Errorf("%q is %v, %v, want %v", s, got, err, want)
		}
	}
	for s, want := range map[string]string{
		"0":                    "must be 1 to 4194304 bytes",
		"4194305":              "must be 1 to 4194304 bytes",
		"5M":                   "must be 1 to 4194304 bytes",
		"1G":                   "must be 1 to 4194304 bytes",
		"9223372036854775807G": "must be 1 to 4194304 bytes",
		"17592186044417M":      "must be 1 to 4194304 bytes", // 1M modulo 2^64
		"18446744073709551616": "must be 1 to 4194304 bytes",
		"":                     "must be a number of bytes",
		"K":                    "must be a number of bytes",
		"-1":                   "must be a number of bytes",
		"1.5M":                 "must be a number of bytes",
		"1T":                   "must be a number of bytes",
		"1KB":                  "must be a number of bytes",
		"many":                 "must be a number of bytes",
	} {
		if got, err := parse(s); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q is %v, %v, want the error %q", s, got, err, want)
		}
	}
}

func TestSeconds(t *testing.T) {
	parse := cli.Seconds(time.Millisecond, time.Hour)
	for s, want := range map[string]time.Duration{
		"1": time.Second, "0.2": 200 * time.Millisecond, ".5": 500 * time.Millisecond, "2.": 2 * time.Second,
		"200ms": 200 * time.Millisecond, "1m30s": 90 * time.Second, "1h": time.Hour, "3600": time.Hour, "0.001": time.Millisecond,
	} {
		if got, err := parse(s); got != want || err != nil {
			t.Errorf("%q is %v, %v, want %v", s, got, err, want)
		}
	}
	const bounds, words = "must be 1ms to 1h", "must be seconds, such as"
	for s, want := range map[string]string{
		"0": bounds, "0.0001": bounds, "3600.1": bounds, "-1": bounds, "-5s": bounds, "1h1s": bounds, "99999999999999999999": bounds,
		"": words, "s": words, ".": words, "-": words, "1.2.3": words, "1e3": words, "0x10": words, "inf": words, "nan": words,
		"soon": words, "1 s": words, "5 minutes": words, "1d": words, "1_000": words,
	} {
		if got, err := parse(s); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q is %v, %v, want the error %q", s, got, err, want)
		}
	}
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", time.Millisecond: "1ms", time.Second: "1s", 90 * time.Second: "1m30s", time.Minute: "1m", 10 * time.Second: "10s",
		time.Hour: "1h", time.Hour + time.Second: "1h0m1s", 10*time.Hour + 10*time.Minute: "10h10m",
	} {
		if got := cli.Duration(d); got != want {
			t.Errorf("Duration(%v) = %q, want %q", d, got, want)
		}
	}
}

func FuzzSeconds(f *testing.F) {
	for _, s := range []string{"1", "0.2", "200ms", "-1", "1h0m1s", "9223372037"} {
		f.Add(s)
	}
	parse := cli.Seconds(time.Millisecond, time.Hour)
	f.Fuzz(func(t *testing.T, s string) {
		defer fuzzing.Limit(s)()
		d, err := parse(s)
		if err != nil {
			return
		}
		if d < time.Millisecond || d > time.Hour {
			t.Errorf("%q is %v, which is out of bounds", s, d)
		}
		if back, err := parse(cli.Duration(d)); back != d || err != nil {
			t.Errorf("%q is %v, written %q, which is %v, %v", s, d, cli.Duration(d), back, err)
		}
	})
}

func FuzzSize(f *testing.F) {
	for _, s := range []string{"1", "64K", "1M", "1G", "9999999999999G", "K"} {
		f.Add(s)
	}
	parse := cli.Size(1, 1<<30)
	f.Fuzz(func(t *testing.T, s string) {
		defer fuzzing.Limit(s)()
		if n, err := parse(s); err == nil && (n < 1 || n > 1<<30) {
			t.Errorf("%q is %d, which is out of bounds", s, n)
		}
	})
}
