// SPDX-License-Identifier: MIT

// Package batch_test holds the batches and pipelines of pkg/client against the
// module.
package batch_test

import (
	"context"
	"testing"

	"nlpeer/pkg/client"
	"nlpeer/vm-test/suites/vmtest"
)

var carriers = []client.Carrier{client.Raw, client.Generic, client.Connector, client.Rtnl}

func background(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), vmtest.Deadline())
	t.Cleanup(cancel)
	return ctx
}

func dial(t testing.TB, cfg client.Config) *client.Conn {
	t.Helper()
	conn, err := client.Dial(background(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}
