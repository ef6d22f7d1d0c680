// SPDX-License-Identifier: MIT

package client_test

import (
	"testing"

	"nlpeer/internal/ownnet"
)

func TestMain(m *testing.M) { ownnet.Main(m) }
