// SPDX-License-Identifier: MIT

package bench

import (
	"context"

	"nlpeer/pkg/client"
)

func peerBatch(ctx context.Context, c Case, conn *client.Conn) (sampler, error) {
	return nil, errNotHere
}
