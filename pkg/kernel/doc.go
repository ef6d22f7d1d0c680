// SPDX-License-Identifier: MIT

// Package kernel listens to, and asks, netlink protocols that every kernel has
// of its own. None of it needs the nlpeer module.
//
// [ListenRoute] hears of changes to links, addresses, neighbours, routes and
// rules, [ListenUevent] of devices and modules that come and go, [ListenProc] of
// processes. Each is a [client.Listener] and a parser; the parsers take bytes
// and can be used without. Overruns are errors in the stream, of type
// [*client.OverrunError], and never its end.
//
// [LookUpFIB] asks where an address is routed, and [Sockets] which netlink
// sockets there are.
//
// Errors of sockets are those of package client.
package kernel
