// SPDX-License-Identifier: MIT

package explain

// Requests is the number of requests that a Decoder remembers.
func Requests(d *Decoder) int { return len(d.requests) }
