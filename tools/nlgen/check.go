// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
)

// Bounds that the kernel sets.
const (
	attrTypeMax  = 1<<14 - 1 // NLA_TYPE_MASK
	attrLenMax   = 1<<16 - 1 - 4
	shortMax     = 1<<15 - 1 // struct nla_policy keeps min and max in an s16
	cmdMax       = 1<<8 - 1  // struct genlmsghdr
	msgTypeMin   = 16        // NLMSG_MIN_TYPE
	msgTypeMax   = 1<<16 - 1
	protonumMax  = 31 // MAX_LINKS
	rawGroupMax  = 32 // those that fit nl_groups
	genlNameSize = 16 // GENL_NAMSIZ, the final 0 included
)

// scalars maps the integer types to their sizes in bytes.
var scalars = map[string]int{"u8": 1, "u16": 2, "u32": 4, "u64": 8}

var (
	types     = []string{"u8", "u16", "u32", "u64", "binary", "string", "flag", "nest", "pad"}
	opFlags   = []string{"admin-perm", "uns-admin-perm"}
	validName = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)
)

// A checker collects what is wrong with a specification, so that one run shows
// everything.
type checker struct {
	*spec
	errs []error
}

func (c *checker) errorf(format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf("%s: %s", c.File, fmt.Sprintf(format, args...)))
}

// check reports everything that is wrong with the two specifications, and
// puts values in the place of the constants that limits name.
func check(genl, raw *spec) error {
	var errs []error
	for _, s := range []*spec{genl, raw} {
		c := checker{spec: s}
		c.header(s == raw)
		c.definitions()
		c.sets()
		c.operations()
		c.groups()
		errs = append(errs, c.errs...)
	}
	errs = append(errs, sameSets(genl, raw)...)
	errs = append(errs, sameConsts(genl, raw)...)
	return errors.Join(errs...)
}

func (c *checker) header(raw bool) {
	want := "genetlink"
	if raw {
		want = "netlink-raw"
	}
	if c.Protocol != want {
		c.errorf("protocol is %q, want %q", c.Protocol, want)
	}
	c.named("family", c.Name, c.Doc)
	switch {
	case !raw && c.Protonum != nil:
		c.errorf("protonum: a generic netlink family has none")
	case !raw && len(c.Name) >= genlNameSize:
		c.errorf("family %s: name is longer than %d bytes", c.Name, genlNameSize-1)
	case raw && (c.Protonum == nil || *c.Protonum < 0 || *c.Protonum > protonumMax):
		c.errorf("protonum is not a number from 0 to %d", protonumMax)
	}
	if raw && c.Operations.EnumModel != "directional" {
		c.errorf("operations: enum-model is %q, want \"directional\"", c.Operations.EnumModel)
	}
}

// named checks what everything that has a name and a description shares.
func (c *checker) named(what, name, doc string) {
	if !validName.MatchString(name) {
		c.errorf("%s: name %q is not lower-case words joined by hyphens", what, name)
	}
	if doc == "" {
		c.errorf("%s %s: no doc", what, name)
	}
}

// unique returns a function that reports a value that it has seen before.
func unique[T comparable](c *checker, what string) func(T) {
	seen := make(map[T]bool)
	return func(v T) {
		if seen[v] {
			c.errorf("%s %v occurs twice", what, v)
		}
		seen[v] = true
	}
}

func (c *checker) definitions() {
	name := unique[string](c, "definition")
	for i := range c.Definitions {
		d := &c.Definitions[i]
		c.named("definition", d.Name, d.Doc)
		name(d.Name)
		switch d.Type {
		case "const":
			if d.Value == nil {
				c.errorf("constant %s: no value", d.Name)
			}
		case "enum", "flags":
			c.entries(d)
		default:
			c.errorf("definition %s: type %q is not supported", d.Name, d.Type)
		}
	}
}

func (c *checker) entries(d *definition) {
	if len(d.Entries) == 0 {
		c.errorf("enum %s: no entries", d.Name)
	}
	name := unique[string](c, "enum "+d.Name+": entry")
	value := unique[int64](c, "enum "+d.Name+": value")
	for _, e := range d.Entries {
		c.named("enum "+d.Name+": entry", e.Name, e.Doc)
		name(e.Name)
		value(*e.Value)
		if *e.Value < 0 || *e.Value > 1<<32-1 {
			c.errorf("enum %s: entry %s: value %d does not fit a u32", d.Name, e.Name, *e.Value)
		}
	}
}

func (c *checker) sets() {
	setName := unique[string](c, "attribute set")
	for i := range c.AttributeSets {
		set := &c.AttributeSets[i]
		what := "attribute set " + set.Name
		setName(set.Name)
		if set.SubsetOf != "" {
			c.subset(set)
			continue
		}
		c.named("attribute set", set.Name, set.Doc)

		name := unique[string](c, what+": attribute")
		value := unique[int64](c, what+": number")
		pads := 0
		for j := range set.Attributes {
			a := &set.Attributes[j]
			name(a.Name)
			value(*a.Value)
			if a.Type == "pad" {
				pads++
			}
			c.attribute(what, a)
		}
		if pads > 1 {
			c.errorf("%s: more than one pad", what)
		}
		wide := slices.IndexFunc(set.Attributes, func(a attr) bool { return a.Type == "u64" })
		if pads == 0 && wide >= 0 {
			c.errorf("%s: attribute %s is a u64, but the set has no pad", what, set.Attributes[wide].Name)
		}
	}
}

func (c *checker) subset(sub *attrSet) {
	whole := c.set(sub.SubsetOf)
	if whole == nil || whole.SubsetOf != "" {
		c.errorf("attribute set %s: there is no set %q to be a subset of", sub.Name, sub.SubsetOf)
		return
	}
	for _, a := range sub.Attributes {
		if whole.attr(a.Name) == nil {
			c.errorf("attribute set %s: attribute %s is not in the set %s", sub.Name, a.Name, whole.Name)
		}
	}
}

func (c *checker) attribute(set string, a *attr) {
	what := set + ": attribute " + a.Name
	if doc := a.Doc; a.Type != "pad" || doc != "" {
		c.named(set+": attribute", a.Name, doc)
	}
	if *a.Value < 1 || *a.Value > attrTypeMax {
		c.errorf("%s: number %d is not from 1 to %d", what, *a.Value, attrTypeMax)
	}
	if !slices.Contains(types, a.Type) {
		c.errorf("%s: type %q is not supported", what, a.Type)
		return
	}
	if a.Enum != "" {
		if c.definition("enum", a.Enum) == nil && c.definition("flags", a.Enum) == nil {
			c.errorf("%s: there is no enum %s", what, a.Enum)
		}
		if a.Type != "u32" {
			c.errorf("%s: an enum is a u32", what)
		}
	}
	if a.Type == "nest" && c.set(a.NestedAttributes) == nil {
		c.errorf("%s: there is no attribute set %q", what, a.NestedAttributes)
	}
	if a.Type != "nest" && a.NestedAttributes != "" {
		c.errorf("%s: nested-attributes without type nest", what)
	}
	c.limits(what, a)
}

// limits resolves an attribute's checks and compares them with what its type
// and a struct nla_policy hold.
func (c *checker) limits(what string, a *attr) {
	all := a.Checks.all()
	size, scalar := scalars[a.Type]
	for _, name := range slices.Sorted(maps.Keys(all)) {
		l := all[name]
		if l.Const != "" {
			d := c.definition("const", l.Const)
			if d == nil || d.Value == nil {
				c.errorf("%s: %s: there is no constant %s", what, name, l.Const)
				continue
			}
			l.Value = *d.Value
		}

		var largest uint64
		switch {
		case scalar && (name == "min" || name == "max"):
			largest = 1<<(8*size) - 1
		case a.Type == "binary" && name == "max-len":
			largest = attrLenMax
		case a.Type == "binary" && (name == "min-len" || name == "exact-len"):
			largest = shortMax
		case a.Type == "string" && (name == "min-len" || name == "max-len"):
			largest = attrLenMax
		default:
			c.errorf("%s: %s does not go with type %s", what, name, a.Type)
			continue
		}
		if l.Value < 0 || uint64(l.Value) > largest {
			c.errorf("%s: %s %d is not from 0 to %d", what, name, l.Value, largest)
		}
	}
	// The kernel's generator renders one check on bytes and no more.
	if a.Type == "binary" && len(all) > 1 {
		c.errorf("%s: more than one check on binary", what)
	}
	if lo, hi := a.Checks.Min, a.Checks.Max; lo != nil && hi != nil && lo.Value > hi.Value {
		c.errorf("%s: min %d is above max %d", what, lo.Value, hi.Value)
	}
}

func (c *checker) operations() {
	first, last := int64(1), int64(cmdMax)
	if c.Protonum != nil {
		first, last = msgTypeMin, msgTypeMax
	}
	name := unique[string](c, "operation")
	value := unique[int64](c, "operation number")
	for i := range c.Operations.List {
		op := &c.Operations.List[i]
		what := "operation " + op.Name
		c.named("operation", op.Name, op.Doc)
		name(op.Name)
		value(*op.Value)
		if *op.Value < first || *op.Value > last {
			c.errorf("%s: number %d is not from %d to %d", what, *op.Value, first, last)
		}
		if asks := len(op.exchanges()) > 0; asks == (op.Event != nil) {
			c.errorf("%s: wants a do, a dump, both, or an event", what)
		}
		c.numbers(what, op)
		for _, flag := range op.Flags {
			if !slices.Contains(opFlags, flag) {
				c.errorf("%s: flag %q is not supported", what, flag)
			}
		}
		if op.Mcgrp != "" && !slices.ContainsFunc(c.McastGroups.List, func(g group) bool { return g.Name == op.Mcgrp }) {
			c.errorf("%s: there is no multicast group %s", what, op.Mcgrp)
		}

		set := c.set(op.AttributeSet)
		if set == nil {
			c.errorf("%s: there is no attribute set %q", what, op.AttributeSet)
			continue
		}
		for _, m := range op.messages() {
			attribute := unique[string](c, what+": attribute")
			for _, a := range m.Attributes {
				attribute(a)
				if set.attr(a) == nil {
					c.errorf("%s: attribute %s is not in the set %s", what, a, set.Name)
				}
			}
		}
		if c.Protonum != nil {
			c.policies(what, set, op)
		}
	}
}

// policies reports checks on the requests of a raw protocol that its policies,
// which are made here, would not hold.
func (c *checker) policies(what string, set *attrSet, op *operation) {
	for _, name := range op.requestAttrs() {
		a := set.attr(name)
		if a == nil {
			continue
		}
		all := a.Checks.all()
		delete(all, "max-len")
		for _, check := range slices.Sorted(maps.Keys(all)) {
			c.errorf("%s: attribute %s: policies of a raw protocol have no %s", what, name, check)
		}
	}
}

// numbers reports messages of an operation whose numbers do not fit together:
// a generic netlink command has one number, a raw request has the operation's,
// and all that answers it has one more or the same.
func (c *checker) numbers(what string, op *operation) {
	var reply *int64
	for _, x := range op.exchanges() {
		for _, m := range []*message{x.Request, x.Reply} {
			switch {
			case m == nil:
			case c.Protonum == nil && m.Value != nil:
				c.errorf("%s: a message of a generic netlink family has no number of its own", what)
			case c.Protonum != nil && m.Value == nil:
				c.errorf("%s: a message has no number", what)
			case m == x.Request && m.Value != nil && *m.Value != *op.Value:
				c.errorf("%s: requests have the numbers %d and %d", what, *op.Value, *m.Value)
			case m == x.Reply && reply != nil && *m.Value != *reply:
				c.errorf("%s: replies have the numbers %d and %d", what, *reply, *m.Value)
			case m == x.Reply:
				reply = m.Value
			}
		}
	}
}

// messages returns the messages of an operation that are described.
func (op *operation) messages() []*message {
	all := []*message{op.Event}
	for _, x := range op.exchanges() {
		all = append(all, x.Request, x.Reply)
	}
	return slices.DeleteFunc(all, func(m *message) bool { return m == nil })
}

func (c *checker) groups() {
	name := unique[string](c, "multicast group")
	for _, g := range c.McastGroups.List {
		name(g.Name)
		if !validName.MatchString(g.Name) || len(g.Name) >= genlNameSize {
			c.errorf("multicast group %q: not a name of at most %d bytes", g.Name, genlNameSize-1)
		}
		switch raw := c.Protonum != nil; {
		case raw && (g.Value == nil || *g.Value < 1 || *g.Value > rawGroupMax):
			c.errorf("multicast group %s: value is not from 1 to %d", g.Name, rawGroupMax)
		case !raw && g.Value != nil:
			c.errorf("multicast group %s: the kernel chooses the number of a generic netlink group", g.Name)
		}
	}
}

// sameConsts reports constants that the raw protocol takes from the generic
// family's header and that differ.
func sameConsts(genl, raw *spec) (errs []error) {
	for _, d := range raw.Definitions {
		if d.Header == "" {
			continue
		}
		same := genl.definition("const", d.Name)
		if d.Header != genl.header() || same == nil || d.Value == nil || same.Value == nil || *d.Value != *same.Value {
			errs = append(errs, fmt.Errorf("%s: constant %s is not that of %s", raw.File, d.Name, genl.File))
		}
	}
	return errs
}

// sameSets reports sets that both specifications have and that differ: on the
// wire they are one. Only the descriptions and the enums may differ, because
// the raw protocol's attributes are explained by the generic family's.
func sameSets(genl, raw *spec) (errs []error) {
	for _, a := range genl.AttributeSets {
		b := raw.set(a.Name)
		if b == nil {
			continue
		}
		n := max(len(a.Attributes), len(b.Attributes))
		for i := range n {
			x, y := "none", "none"
			if i < len(a.Attributes) {
				x = a.Attributes[i].wire()
			}
			if i < len(b.Attributes) {
				y = b.Attributes[i].wire()
			}
			if x != y {
				errs = append(errs, fmt.Errorf("attribute set %s: attribute %d is %s in %s, %s in %s",
					a.Name, i+1, x, genl.File, y, raw.File))
			}
		}
	}
	return errs
}

// wire describes what an attribute is on the wire.
func (a *attr) wire() string {
	return fmt.Sprintf("%s %s = %d", a.Type, a.Name, *a.Value)
}
