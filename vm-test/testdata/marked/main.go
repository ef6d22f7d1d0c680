// SPDX-License-Identifier: MIT

// Marked calls its marker so many times, and ends with the given status. With a
// negative status it waits instead of ending.
package main

import (
	"os"
	"strconv"
	"time"
)

//go:noinline
func marker() {}

func main() {
	times, _ := strconv.Atoi(os.Args[1])
	status, _ := strconv.Atoi(os.Args[2])
	for range times {
		marker()
	}
	if status < 0 {
		time.Sleep(time.Hour)
	}
	os.Exit(status)
}
