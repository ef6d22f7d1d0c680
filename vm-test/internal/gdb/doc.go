// SPDX-License-Identifier: MIT

// Package gdb is a client of the GDB remote serial protocol, as far as it takes
// to follow a guest instruction by instruction: QEMU's stub stops the whole
// machine, sets breakpoints, steps, and shows registers and memory.
//
// A packet is $DATA#CHECKSUM, with two hexadecimal digits of the sum of DATA's
// bytes; the receiver says + if it agrees and - if it does not. The protocol is
// in GDB's manual, appendix "GDB Remote Serial Protocol".
package gdb
