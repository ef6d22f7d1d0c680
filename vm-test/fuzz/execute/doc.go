// SPDX-License-Identifier: MIT

// Package execute runs the programs of package fuzz against the kernel it runs
// on, and checks what must hold whatever was sent. It changes the initial
// network namespace, so it is for the virtual machine alone.
package execute
