// SPDX-License-Identifier: MIT

// Package source reads the sources of the labs and makes from them what a
// student gets.
//
// A lab has one source, in labs/src/NN-name. Its files are the solution, as
// they are: they compile, and gofmt and editors know them. Comments mark what a
// student has to write:
//
//	//> todo 2
//	//| // TODO(2): send it back to the port that asked
//	//| kfree_skb(skb);
//	//> solved
//	err = netlink_unicast(sk, skb, portid, MSG_DONTWAIT);
//	//> mistake wrong-port
//	//| err = netlink_unicast(sk, skb, 0, MSG_DONTWAIT);
//	//> end
//
// The lines after "//| " are those of the skeleton, and of what people are
// known to do wrong. They take the indentation of their comment.
package source
