// SPDX-License-Identifier: MIT

package explain

// SetObjects gives the objects of nlpeer on NETLINK_ROUTE another set of the raw
// protocol, until restore is called.
func SetObjects(set string) (restore func()) {
	was := peerMessages[0].set
	peerMessages[0].set = set
	return func() { peerMessages[0].set = was }
}

// Requests is the number of requests that a Decoder remembers.
func Requests(d *Decoder) int { return len(d.requests) }
