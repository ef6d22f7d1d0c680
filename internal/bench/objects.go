// SPDX-License-Identifier: MIT

package bench

import (
	"cmp"
	"context"
	"fmt"

	"nlpeer/pkg/client"
	"nlpeer/pkg/wire"
)

// objectKey is the name of an object of the table.
func objectKey(n int) string { return fmt.Sprintf("object-%06d", n) }

// getObjects is how many objects there are to ask for one.
const getObjects = 1000

// fill makes the table have as many objects as the case says.
func (b *Bench) fill(ctx context.Context, c Case) error {
	n := c.N
	if c.Name == Get {
		n = getObjects
	}
	if b.filled == n {
		return nil
	}
	conn, err := b.peer(ctx)
	if err != nil {
		return err
	}
	if err := conn.DeleteObjects(ctx, ""); err != nil {
		return err
	}
	b.filled = -1
	value := payload(c.Size)
	batch := conn.NewBatch()
	for i := 0; i < n; {
		batch.Reset()
		for ; i < n && batch.Len() < 256; i++ {
			batch.NewObject(objectKey(i), wire.ModifierCreate|wire.ModifierExcl, value)
		}
		var failed error
		err := conn.Do(ctx, batch, func(a client.Answer) { failed = cmp.Or(failed, a.Err) })
		if err = cmp.Or(err, failed); err != nil {
			return fmt.Errorf("make %d objects: %w", n, err)
		}
	}
	b.filled = n
	return nil
}

// gets makes a sampler of a function that asks for one object, and returns how
// many values it has.
func (b *Bench) gets(c Case, get func(key string) (values int, err error)) sampler {
	keys := make([]string, getObjects)
	for i := range keys {
		keys[i] = objectKey(i)
	}
	return func(n int, m *meter) error {
		m.start()
		for i := range n {
			values, err := get(keys[i%len(keys)])
			if err != nil {
				return err
			}
			if values != 1 {
				return fmt.Errorf("%w: %d values", errWrong, values)
			}
		}
		m.stop(n)
		return nil
	}
}

// dumps makes a sampler of a function that goes through the table, and returns
// how many objects it has.
func dumps(c Case, dump func() (objects int, err error)) sampler {
	return func(n int, m *meter) error {
		n = max(1, n/c.N)
		m.start()
		for range n {
			objects, err := dump()
			if err != nil {
				return err
			}
			if objects != c.N {
				return fmt.Errorf("%w: %d objects of %d", errWrong, objects, c.N)
			}
		}
		m.stop(n * c.N)
		return nil
	}
}
