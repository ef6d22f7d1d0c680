// SPDX-License-Identifier: MIT

// Package explain takes netlink messages apart for people to read: each byte of
// a datagram, what it is called and what it means.
//
//	var d explain.Decoder
//	for _, m := range d.Decode(explain.Datagram{Protocol: wire.NetlinkTest, Data: b}) {
//		os.Stdout.Write(m.AppendText(nil))
//	}
//
// It knows the operations and attributes of nlpeer, whose tables are generated
// from spec/; the generic netlink controller nlctrl; acknowledgments with their
// extended part; and the fixed headers of NETLINK_ROUTE and NETLINK_CONNECTOR.
// Of other protocols and families it shows the headers and, where the bytes are
// attributes, those.
//
// It is made for messages that are wrong. Nothing makes it fail: it says where a
// length does not fit, what is left over, and which padding is not zero. The
// fields of a datagram's messages cover each of its bytes exactly once, in order.
//
// Package wire decodes for programs.
package explain
