// SPDX-License-Identifier: MIT

package vmtest

import "testing"

// NextPacked receives a datagram of events, each as TryNext has it.
func (l *Listener) NextPacked(t testing.TB) (events []Event, datagram int) {
	t.Helper()
	b := l.Recv(t)
	for _, m := range Parse(t, b) {
		events = append(events, l.parse(t, m))
	}
	return events, len(b)
}
