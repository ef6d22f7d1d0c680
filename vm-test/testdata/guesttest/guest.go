// SPDX-License-Identifier: MIT

// Package guesttest is a package for nlvm to run the tests of.
package guesttest

// Covered is covered by the test.
func Covered(n int) int {
	if n < 0 {
		return -n
	}
	return n
}
