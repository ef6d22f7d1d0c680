// SPDX-License-Identifier: MIT

package client

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"strings"
	"syscall"

	"nlpeer/pkg/wire"
)

// An Object is an object of the namespace's table.
type Object struct {
	// Key is its name, 1 to [wire.KeyMax] bytes without a NUL.
	Key string
	// Values are what it holds, in the order in which they came: each 0 to
	// [wire.ValueMax] bytes, all of them [wire.ObjectMax] with 4 bytes and the
	// padding for each.
	Values [][]byte
	// Generation is the number of the change of the table that made the object
	// what it is.
	Generation uint64
}

// An ObjectView is an object as the kernel sent it: its key and values lie in a
// buffer that belongs to somebody else, and stay what they are only as long as
// that says. Clone keeps them longer. Key is nil if there is no object.
type ObjectView struct{ wire.Object }

// Equal says that two objects have the same key, generation and values.
func (v ObjectView) Equal(w ObjectView) bool { return v.Object.Equal(w.Object) }

// Clone returns a copy of the object.
func (v ObjectView) Clone() Object {
	o := Object{Key: string(v.Key), Generation: v.Generation}
	for value := range v.Values() {
		o.Values = append(o.Values, bytes.Clone(value))
	}
	return o
}

// in moves what is seen to buf, or to a longer slice.
func (v ObjectView) in(buf []byte) ObjectView {
	o, err := wire.ParseObject(append(buf[:0], v.Attrs...))
	if err != nil {
		panic(err) // it was parsed before
	}
	return ObjectView{o}
}

// An ObjectQuery chooses objects.
type ObjectQuery struct {
	// Prefix is what their keys begin with; all do with "".
	Prefix string
	// Atomic asks for the table as it is at one moment, whatever happens to it
	// while it is dumped. It needs CAP_NET_ADMIN in the user namespace that owns
	// the network namespace, and fails with EBUSY if too many ask for it at once.
	Atomic bool
}

// An objectOp is what can be asked about objects, by its numbers on each
// carrier.
type objectOp struct {
	name      string
	raw, rtnl uint16
	genl      uint8
}

var (
	objectNew = objectOp{"object-new", wire.MsgObjectNew, wire.RtnlNew, wire.CmdObjectNew}
	objectDel = objectOp{"object-del", wire.MsgObjectDel, wire.RtnlDel, wire.CmdObjectDel}
	objectGet = objectOp{"object-get", wire.MsgObjectGet, wire.RtnlGet, wire.CmdObjectGet}
)

const modifiers = wire.ModifierReplace | wire.ModifierExcl | wire.ModifierCreate | wire.ModifierAppend

// NewObject makes an object with a key or changes it, as flags allow:
// [wire.ModifierCreate] makes it if it does not exist, [wire.ModifierExcl] makes
// it an error that it exists, [wire.ModifierReplace] gives an object that exists
// values instead of its own, [wire.ModifierAppend] gives it values behind its
// own. It needs CAP_NET_ADMIN in the user namespace that owns the network
// namespace; without it fails with [os.ErrPermission] (EPERM).
//
// It fails with [os.ErrExist] (EEXIST) and [os.ErrNotExist] (ENOENT) where flags
// do not allow it, ENOSPC if the table or the object is full, EINVAL or ERANGE
// if the key or a value can not be, EOPNOTSUPP on a carrier without objects
// ([Connector], [UserSock]), and with the errors of the package's documentation.
func (c *Conn) NewObject(ctx context.Context, key string, flags wire.Modifier, values ...[]byte) error {
	op := &objectNew
	if err := c.checkNewObject(key, flags, values); err != nil {
		return opError(op.name, err)
	}
	return c.changeObject(ctx, op, func(b []byte) []byte {
		return c.appendObjectNew(b, c.seq, key, flags, values)
	})
}

// DeleteObject deletes the object with a key. It needs CAP_NET_ADMIN in the user
// namespace that owns the network namespace; without it fails with
// [os.ErrPermission] (EPERM), and with [os.ErrNotExist] (ENOENT) if there is no
// such object. See [Conn.NewObject] for the rest.
func (c *Conn) DeleteObject(ctx context.Context, key string) error {
	op := &objectDel
	if err := c.checkObject(key, nil); err != nil {
		return opError(op.name, err)
	}
	return c.changeObject(ctx, op, func(b []byte) []byte {
		return c.appendObjectDel(b, c.seq, key)
	})
}

// DeleteObjects deletes all objects whose keys begin with prefix, "" being the
// beginning of all, one by one. That there is none is no error; EAGAIN means that
// not all could be deleted, as others made new ones meanwhile, or it took five
// seconds, for a great many listeners. It needs what [Conn.DeleteObject] needs.
func (c *Conn) DeleteObjects(ctx context.Context, prefix string) error {
	op := &objectDel
	if err := c.checkObject(prefix, nil); err != nil {
		return opError(op.name, err)
	}
	return c.changeObject(ctx, op, func(b []byte) []byte {
		return c.appendObjectsDel(b, c.seq, prefix)
	})
}

// GetObject returns the object with a key. It needs no privilege. It fails with
// [os.ErrNotExist] (ENOENT) if there is none. See [Conn.NewObject] for the rest.
func (c *Conn) GetObject(ctx context.Context, key string) (Object, error) {
	v, err := c.ViewObject(ctx, key, nil)
	if err != nil {
		return Object{}, err
	}
	// The buffer was made for it, so the values need not be copied again.
	o := Object{Key: key, Generation: v.Generation, Values: make([][]byte, 0, v.Len())}
	for value := range v.Values() {
		o.Values = append(o.Values, value)
	}
	return o, nil
}

// ViewObject is [Conn.GetObject], but puts the object into buf, over what is
// there, and returns a view of that. It allocates nothing if buf has room for
// key, generation and values: [wire.ObjectMax] bytes and 128 always do.
func (c *Conn) ViewObject(ctx context.Context, key string, buf []byte) (ObjectView, error) {
	op := &objectGet
	if err := c.checkObject(key, nil); err != nil {
		return ObjectView{}, opError(op.name, err)
	}
	lim := limit{ctx: ctx, timeout: c.cfg.Timeout}
	if err := c.begin(&lim); err != nil {
		return ObjectView{}, opError(op.name, err)
	}
	v, err := c.getObject(&lim, op, key)
	if err == nil {
		v = v.in(buf)
	}
	c.lock.release()
	if err != nil {
		return ObjectView{}, opError(op.name, err)
	}
	return v, nil
}

// Objects ranges over the objects that q chooses, in the order of their keys. It
// needs no privilege, unless q is atomic.
//
// An error comes with a zero Object and is the last. It is an
// [ErrDumpInterrupted] if the table changed meanwhile, after all objects were
// yielded; who needs them as they were at one moment asks again, or asks for an
// atomic dump. All others say that the dump was broken off: the error of ctx,
// [net.ErrClosed], EPERM or EBUSY where q is atomic, EOPNOTSUPP on a carrier
// without objects, or one that the socket reports.
//
// The Conn is in use until the loop ends: other calls wait, so that one in the
// loop's body, Close included, waits for ever.
func (c *Conn) Objects(ctx context.Context, q ObjectQuery) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		for v, err := range c.ObjectViews(ctx, q) {
			if err != nil {
				yield(Object{}, err)
				return
			}
			if !yield(v.Clone(), nil) {
				return
			}
		}
	}
}

// ObjectViews is [Conn.Objects] without a copy of each object: a view is valid
// until the loop's body ends. Nothing is allocated per object.
func (c *Conn) ObjectViews(ctx context.Context, q ObjectQuery) iter.Seq2[ObjectView, error] {
	op := &objectGet
	return func(yield func(ObjectView, error) bool) {
		if err := c.checkObject(q.Prefix, nil); err != nil {
			yield(ObjectView{}, opError(op.name, err))
			return
		}
		lim := limit{ctx: ctx, timeout: c.cfg.Timeout}
		if err := c.begin(&lim); err != nil {
			yield(ObjectView{}, opError(op.name, err))
			return
		}
		defer c.lock.release()
		if err := c.askObjects(op, q); err != nil {
			yield(ObjectView{}, opError(op.name, err))
			return
		}
		ended := false
		defer func() {
			if !ended { // the loop's body may have panicked
				c.dropDump()
			}
		}()

		interrupted := false
		for {
			v, ok, err := c.nextObject(op, &lim, &interrupted)
			ended = err == nil && !ok
			if err == nil && ok {
				err = ctx.Err()
			}
			switch {
			case err != nil:
				yield(ObjectView{}, opError(op.name, err))
				return
			case !ok && interrupted:
				yield(ObjectView{}, opError(op.name, ErrDumpInterrupted))
				return
			case !ok:
				return
			}
			if !yield(v, nil) {
				return
			}
		}
	}
}

// checkObject refuses what can not be expressed, and what the carrier has not.
// What the kernel does not allow it says itself.
func (c *Conn) checkObject(key string, values [][]byte) error {
	if err := c.atKernel(); err != nil {
		return err
	}
	if c.cfg.Carrier == Connector {
		return fmt.Errorf("the connector has no objects; the raw protocol, generic netlink and rtnetlink have: %w", syscall.EOPNOTSUPP)
	}
	if len(key) >= wire.AttrDataMax {
		return sizeError{"key", len(key), wire.KeyMax}
	}
	if strings.IndexByte(key, 0) >= 0 {
		return configError(fmt.Sprintf("key %q has a NUL", key))
	}
	for _, v := range values {
		if len(v) > wire.AttrDataMax {
			return sizeError{"value", len(v), wire.ValueMax}
		}
	}
	return nil
}

// checkNewObject is checkObject for NewObject.
func (c *Conn) checkNewObject(key string, flags wire.Modifier, values [][]byte) error {
	if err := c.checkObject(key, values); err != nil {
		return err
	}
	if flags&^modifiers != 0 {
		return configError(fmt.Sprintf("flags %#x are unknown", uint32(flags&^modifiers)))
	}
	return nil
}

// beginObject appends the beginning of a request.
func (c *Conn) beginObject(b []byte, op *objectOp, seq uint32, flags uint16) []byte {
	h := wire.Header{Type: op.raw, Flags: wire.FlagRequest | flags, Seq: seq}
	switch c.cfg.Carrier {
	case Generic:
		h.Type = c.family.ID
		b = wire.BeginMessage(b, h)
		return wire.AppendGenlHeader(b, wire.GenlHeader{Command: op.genl, Version: wire.FamilyVersion})
	case Rtnl:
		h.Type = op.rtnl
		b = wire.BeginMessage(b, h)
		return wire.AppendRtnlHeader(b, wire.RtnlFamily)
	}
	return wire.BeginMessage(b, h)
}

func (c *Conn) appendObjectNew(b []byte, seq uint32, key string, flags wire.Modifier, values [][]byte) []byte {
	start := len(b)
	if c.cfg.Carrier == Generic {
		// Its core refuses the flags, so that an attribute says the same.
		b = c.beginObject(b, &objectNew, seq, wire.FlagAck)
		b = wire.AppendString(b, wire.AttrObjectKey, key)
		b = wire.AppendUint32(b, wire.AttrObjectFlags, uint32(flags))
	} else {
		b = c.beginObject(b, &objectNew, seq, wire.FlagAck|uint16(flags))
		b = wire.AppendString(b, wire.AttrObjectKey, key)
	}
	return wire.EndMessage(wire.AppendValues(b, values...), start)
}

func (c *Conn) appendObjectDel(b []byte, seq uint32, key string) []byte {
	start := len(b)
	b = c.beginObject(b, &objectDel, seq, wire.FlagAck)
	return wire.EndMessage(wire.AppendString(b, wire.AttrObjectKey, key), start)
}

func (c *Conn) appendObjectsDel(b []byte, seq uint32, prefix string) []byte {
	start, flags := len(b), uint16(wire.FlagAck)
	if c.cfg.Carrier != Generic { // where the attribute says it
		flags |= wire.FlagBulk
	}
	b = c.beginObject(b, &objectDel, seq, flags)
	return wire.EndMessage(wire.AppendString(b, wire.AttrObjectPrefix, prefix), start)
}

// appendObjectGet appends the request for one object. The key is its first
// attribute, see Batch.key.
func (c *Conn) appendObjectGet(b []byte, seq uint32, key string) []byte {
	start, flags := len(b), uint16(0)
	if c.cfg.Acknowledge {
		flags = wire.FlagAck
	}
	b = c.beginObject(b, &objectGet, seq, flags)
	return wire.EndMessage(wire.AppendString(b, wire.AttrObjectKey, key), start)
}

// changeObject is one exchange that is answered by nothing but an
// acknowledgment. request appends the request.
func (c *Conn) changeObject(ctx context.Context, op *objectOp, request func([]byte) []byte) error {
	lim := limit{ctx: ctx, timeout: c.cfg.Timeout}
	if err := c.begin(&lim); err != nil {
		return opError(op.name, err)
	}
	defer c.lock.release()

	c.req = request(c.req[:0])
	c.raw = len(c.req) <= rawLimit
	if err := c.send(c.req, false); err != nil {
		return opError(op.name, err)
	}
	m, err := c.next(op.name, &lim)
	switch {
	case err != nil:
	case m.Type != wire.MsgError:
		err = unexpected(m)
	default:
		err = c.ack(op.name, m)
	}
	return opError(op.name, err)
}

// getObject asks for the object with a key. The lock is held.
func (c *Conn) getObject(lim *limit, op *objectOp, key string) (v ObjectView, err error) {
	answered, acked := false, !c.cfg.Acknowledge
	c.req = c.appendObjectGet(c.req[:0], c.seq, key)
	c.raw = false
	if err := c.send(c.req, false); err != nil {
		return ObjectView{}, err
	}
	for !answered || !acked {
		m, err := c.next(op.name, lim)
		switch {
		case err != nil:
			return ObjectView{}, err
		case m.Type == wire.MsgError:
			if err := c.ack(op.name, m); err != nil {
				return ObjectView{}, err
			}
			acked = true
		case answered:
			return ObjectView{}, unexpected(m)
		default:
			if v, err = c.objectAnswer(op, m); err != nil {
				return ObjectView{}, err
			}
			if string(v.Key) != key {
				return ObjectView{}, otherObject(v.Key)
			}
			answered = true
			if !acked {
				// The acknowledgment comes into the same buffer.
				v = v.in(nil)
			}
		}
	}
	return v, nil
}

// otherObject is an answer that has not what was asked for.
func otherObject(key []byte) error {
	return fmt.Errorf("answer has the object %q: %w", key, syscall.EBADMSG)
}

// objectAnswer decodes a message that holds an object.
func (c *Conn) objectAnswer(op *objectOp, m wire.Message) (ObjectView, error) {
	attrs := m.Body
	switch c.cfg.Carrier {
	case Generic:
		h, rest, err := wire.ParseGenl(m.Body)
		switch {
		case m.Type != c.family.ID:
			return ObjectView{}, unexpected(m)
		case err != nil:
			return ObjectView{}, err
		case h.Command != op.genl:
			return ObjectView{}, fmt.Errorf("answer has command %d: %w", h.Command, syscall.EBADMSG)
		}
		attrs = rest
	case Rtnl:
		family, rest, err := wire.ParseRtnl(m.Body)
		switch {
		case m.Type != wire.RtnlNew:
			return ObjectView{}, unexpected(m)
		case err != nil:
			return ObjectView{}, err
		case family != wire.RtnlFamily:
			return ObjectView{}, fmt.Errorf("answer has protocol family %d: %w", family, syscall.EBADMSG)
		}
		attrs = rest
	default:
		if m.Type != wire.MsgObjectNew {
			return ObjectView{}, unexpected(m)
		}
	}
	o, err := wire.ParseObject(attrs)
	return ObjectView{o}, err
}

// askObjects sends the request of a dump of objects. The lock is held.
func (c *Conn) askObjects(op *objectOp, q ObjectQuery) error {
	flags := uint16(wire.FlagDump)
	if q.Atomic && c.cfg.Carrier != Generic {
		flags |= wire.FlagAtomic
	}
	c.req = c.beginObject(c.req[:0], op, c.seq, flags)
	if q.Prefix != "" {
		c.req = wire.AppendString(c.req, wire.AttrObjectPrefix, q.Prefix)
	}
	if q.Atomic && c.cfg.Carrier == Generic {
		c.req = wire.AppendAttr(c.req, wire.AttrObjectAtomic, nil)
	}
	c.req = wire.EndMessage(c.req, 0)
	c.raw = false
	return c.send(c.req, false)
}

// nextObject returns the next object of the dump in progress, a view that is
// valid until the next call; ok is false after the last. It sets interrupted if
// the kernel says so. The lock is held.
func (c *Conn) nextObject(op *objectOp, lim *limit, interrupted *bool) (v ObjectView, ok bool, err error) {
	for {
		m, err := c.next(op.name, lim)
		if err != nil {
			return ObjectView{}, false, err
		}
		if m.Flags&wire.FlagDumpIntr != 0 {
			*interrupted = true
		}
		switch m.Type {
		case wire.MsgDone, wire.MsgError:
			return ObjectView{}, false, c.ack(op.name, m)
		case wire.MsgNoop: // the first buffer on rtnetlink was too small
		default:
			v, err := c.objectAnswer(op, m)
			return v, err == nil, err
		}
	}
}
