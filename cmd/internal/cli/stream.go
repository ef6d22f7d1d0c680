// SPDX-License-Identifier: MIT

package cli

import (
	"errors"

	"nlpeer/pkg/client"
	"nlpeer/pkg/kernel"
	"nlpeer/pkg/wire"
)

// survivable are what the listeners of packages client and kernel say about a
// single message. They go on after it.
var survivable = []error{
	client.ErrTruncated, kernel.ErrRoute, kernel.ErrUevent, kernel.ErrProc,
	wire.ErrMessageShort, wire.ErrMessageLength, wire.ErrAttrShort, wire.ErrAttrLength, wire.ErrValueLength, wire.ErrMissing,
	wire.ErrConnectorShort, wire.ErrConnectorLength, wire.ErrGenlShort,
}

// Survived says that err, which came out of an iteration over events, cannot be
// its last. Of any other error one knows that only when something follows.
func Survived(err error) bool {
	for _, s := range survivable {
		if errors.Is(err, s) {
			return true
		}
	}
	return false
}
