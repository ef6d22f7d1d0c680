// SPDX-License-Identifier: MIT

// Package wire is the language that nlvm on the host and the agent in the
// guest speak over one virtio-serial port.
//
// The port is a byte stream without any framing of its own, so everything
// travels in frames: a type, a length, a payload and a checksum. The checksum
// is not there because virtio loses bytes, but because the two ends can be of
// different builds after a saved state was restored, and because a restored
// guest must never mistake half of an old message for a new one.
//
// A conversation goes like this (host on the left):
//
//	              Hello      the agent is up
//	Resume                   entropy and wall clock; also after a restore
//	              Resumed
//	Files… FilesEnd          a tar stream, unpacked at /
//	              FilesDone
//	Run                      what to execute, where, with which environment
//	              Started    the module is loaded, the command runs
//	Stdin…        Stdout… Stderr… Kmsg… Window…
//	Signal
//	              Back… BackEnd   files that the host asked for, as tar
//	              Exit       the verdict
//	Bye                      it has arrived; the guest ends the machine
package wire
