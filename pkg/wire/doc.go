// SPDX-License-Identifier: MIT

// Package wire encodes and decodes netlink messages without allocating.
//
// It knows the bytes and nothing else: message headers, the headers of generic
// netlink, the connector and rtnetlink, attributes, acknowledgments with their
// extended part, events, objects, and the numbers of the nlpeer protocols, which
// are generated from spec/ in spec_gen.go. It opens no socket; package client
// does.
//
// # Encoding
//
// Everything that encodes is called Append, Begin or End, appends to a slice
// that the caller owns, and returns the longer slice, as the built-in append
// does. A message whose length is known only at the end is framed by two calls:
//
//	start := len(b)
//	b = wire.BeginMessage(b, wire.Header{Type: family, Flags: wire.FlagRequest, Seq: 1})
//	b = wire.AppendGenlHeader(b, wire.GenlHeader{Command: wire.CmdBeaconSet, Version: wire.FamilyVersion})
//	b = wire.AppendUint32(b, wire.AttrBeaconInterval, 250)
//	b = wire.EndMessage(b, start)
//
// Padding is always written, and always zero.
//
// # Decoding
//
// Everything that decodes returns views into the slice it was given. A view
// lives as long as that slice keeps its contents; who wants it longer copies
// it. Any input is safe: a parser returns an error, it never panics and never
// reads past the end. The errors are sentinels, so that refusing a message
// costs nothing.
//
// [NextMessage] and [NextAttr] take one item off the front of a slice;
// [Messages] and [Attrs] are the same as loops.
//
// # Byte order
//
// Netlink speaks the byte order of the machine it runs on, so this package
// does. Messages do not travel between machines.
//
// The rules are those of include/uapi/linux/netlink.h, lib/nlattr.c and
// net/netlink/af_netlink.c in the Linux source, and of netlink(7).
package wire
