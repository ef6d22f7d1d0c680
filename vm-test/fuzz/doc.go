// SPDX-License-Identifier: MIT

// Package fuzz makes programs that attack the module: sequences of operations
// on netlink sockets by several tasks, with messages that are right, nearly
// right, and wrong. Package execute runs them against a kernel; this one needs
// none. All that is random comes from a source that the caller gives, so a seed
// stands for a program.
package fuzz
