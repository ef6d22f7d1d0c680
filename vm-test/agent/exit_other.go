// SPDX-License-Identifier: MIT

//go:build !amd64 && !386

package main

// debugExit does nothing: there is no device that takes a status. The host
// knows that, and sees by QEMU's monitor that the machine was powered off.
func debugExit(byte) {}
