// SPDX-License-Identifier: MIT

// Package check is what the checks of the labs are made of. A check is a Go test
// package; nllab builds it and runs it beside the student's programs, in the
// virtual machine or, for a lab without a kernel, on this one.
//
//	func TestMain(m *testing.M) { check.Main(m) }
//
//	func TestLab(t *testing.T) {
//		check.Lab(t,
//			check.Step{TODO: 1, Points: 4, Name: "the module loads", Do: func(t *check.T) {
//				check.Insmod(t, "echo")
//			}},
//			check.Step{TODO: 2, Points: 6, Name: "an echo comes back", Needs: []string{"the module loads"}, Do: echo},
//		)
//	}
//
// The student reads what a step says when it fails. So it says which field of
// which message is wrong, shows the bytes ([T.Compare]), and names the mistake
// where it is a known one ([T.Mistake]).
//
// Whatever is sent is random, so that only code that looks at it can pass.
package check
