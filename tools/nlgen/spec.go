// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A spec is one YNL specification, as far as nlpeer uses the language: what is
// missing here is refused as an unknown key rather than passed over. The
// language is described in Documentation/userspace-api/netlink of the kernel.
type spec struct {
	File string `yaml:"-"`

	Name          string       `yaml:"name"`
	Protocol      string       `yaml:"protocol"`
	Protonum      *int64       `yaml:"protonum"`
	UAPIHeader    string       `yaml:"uapi-header"`
	Doc           string       `yaml:"doc"`
	Definitions   []definition `yaml:"definitions"`
	AttributeSets []attrSet    `yaml:"attribute-sets"`
	Operations    struct {
		EnumModel  string      `yaml:"enum-model"`
		NamePrefix string      `yaml:"name-prefix"`
		List       []operation `yaml:"list"`
	} `yaml:"operations"`
	McastGroups struct {
		List []group `yaml:"list"`
	} `yaml:"mcast-groups"`
}

// A definition is a constant, an enumeration, or flags: an enumeration of bits,
// whose entries are numbered by their position in the specification and by
// their value once number has run. A constant with a Header repeats one of the
// other specification, for which this one needs it by name.
type definition struct {
	Type       string  `yaml:"type"`
	Header     string  `yaml:"header"`
	Name       string  `yaml:"name"`
	NamePrefix string  `yaml:"name-prefix"`
	Doc        string  `yaml:"doc"`
	Value      *int64  `yaml:"value"`
	ValueStart int64   `yaml:"value-start"`
	Entries    []entry `yaml:"entries"`
}

// An entry is one value of an enumeration. Like attributes and operations, it
// is numbered one above its predecessor unless it says otherwise; number fills
// in Value.
type entry struct {
	Name  string `yaml:"name"`
	Doc   string `yaml:"doc"`
	Value *int64 `yaml:"value"`
}

// An attrSet is one number space of attributes, or with SubsetOf some of
// another's, which number fills in.
type attrSet struct {
	Name       string `yaml:"name"`
	SubsetOf   string `yaml:"subset-of"`
	Doc        string `yaml:"doc"`
	Attributes []attr `yaml:"attributes"`
}

type attr struct {
	Name             string `yaml:"name"`
	Type             string `yaml:"type"`
	Doc              string `yaml:"doc"`
	Value            *int64 `yaml:"value"`
	Enum             string `yaml:"enum"`
	NestedAttributes string `yaml:"nested-attributes"`
	MultiAttr        bool   `yaml:"multi-attr"`
	Checks           checks `yaml:"checks"`
}

// The checks of an attribute: of the value for an integer, of the length for
// bytes and strings.
type checks struct {
	Min      *limit `yaml:"min"`
	Max      *limit `yaml:"max"`
	MinLen   *limit `yaml:"min-len"`
	MaxLen   *limit `yaml:"max-len"`
	ExactLen *limit `yaml:"exact-len"`
}

// A limit is a number or, with Const, the name of a constant; Value is right
// once resolve has run.
type limit struct {
	Value int64
	Const string
}

func (l *limit) UnmarshalYAML(node *yaml.Node) error {
	if node.Decode(&l.Value) == nil {
		return nil
	}
	return node.Decode(&l.Const)
}

// An operation is an event, or has a do, a dump, or both. Value is the number
// of the request or event; what answers has the same number unless Reply says
// otherwise.
type operation struct {
	Name         string    `yaml:"name"`
	Doc          string    `yaml:"doc"`
	Value        *int64    `yaml:"value"`
	AttributeSet string    `yaml:"attribute-set"`
	Flags        []string  `yaml:"flags"`
	Do           *exchange `yaml:"do"`
	Dump         *exchange `yaml:"dump"`
	Event        *message  `yaml:"event"`
	Mcgrp        string    `yaml:"mcgrp"`
}

// An exchange is a request and what answers it. Pre and Post name functions
// that the kernel calls first and last; they are for the kernel's generator
// alone.
type exchange struct {
	Pre     string   `yaml:"pre"`
	Post    string   `yaml:"post"`
	Request *message `yaml:"request"`
	Reply   *message `yaml:"reply"`
}

// A message's Value is its number if requests and replies are numbered apart.
type message struct {
	Value      *int64   `yaml:"value"`
	Attributes []string `yaml:"attributes"`
}

// A group is a multicast group. The groups of a raw protocol have numbers.
type group struct {
	Name  string `yaml:"name"`
	Value *int64 `yaml:"value"`
}

// readSpec reads a specification and fills in the numbers that it leaves out.
func readSpec(path string) (*spec, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseSpec(path, data)
}

func parseSpec(path string, data []byte) (*spec, error) {
	s := &spec{File: path}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(s); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: more than one document", path)
	}
	s.number()
	return s, nil
}

// number gives every entry, attribute and operation its number.
func (s *spec) number() {
	for i := range s.Definitions {
		next := s.Definitions[i].ValueStart
		for j := range s.Definitions[i].Entries {
			next = assign(&s.Definitions[i].Entries[j].Value, next)
		}
		if s.Definitions[i].Type == "flags" {
			for j := range s.Definitions[i].Entries {
				e := &s.Definitions[i].Entries[j]
				bit := int64(-1) // no bit of an int64, which check reports
				if *e.Value >= 0 && *e.Value < 63 {
					bit = 1 << *e.Value
				}
				e.Value = &bit
			}
		}
	}
	for i := range s.AttributeSets {
		if s.AttributeSets[i].SubsetOf != "" {
			continue
		}
		next := int64(1)
		for j := range s.AttributeSets[i].Attributes {
			next = assign(&s.AttributeSets[i].Attributes[j].Value, next)
		}
	}
	for i := range s.AttributeSets {
		if sub := &s.AttributeSets[i]; sub.SubsetOf != "" {
			s.complete(sub)
		}
	}
	next := int64(1)
	for i := range s.Operations.List {
		op := &s.Operations.List[i]
		for _, x := range op.exchanges() {
			if op.Value == nil && x.Request != nil {
				op.Value = x.Request.Value
			}
		}
		next = assign(&op.Value, next)
	}
}

// complete takes over what a subset leaves to the whole.
func (s *spec) complete(sub *attrSet) {
	whole := s.set(sub.SubsetOf)
	for i := range sub.Attributes {
		if whole == nil {
			continue
		}
		if a := whole.attr(sub.Attributes[i].Name); a != nil {
			sub.Attributes[i] = *a
		}
	}
}

// assign sets a number that is missing and returns the one that follows.
func assign(value **int64, next int64) int64 {
	if *value == nil {
		*value = &next
	}
	return **value + 1
}

// definition returns the definition of a type and name, or nil.
func (s *spec) definition(typ, name string) *definition {
	for i, d := range s.Definitions {
		if d.Type == typ && d.Name == name {
			return &s.Definitions[i]
		}
	}
	return nil
}

// set returns the attribute set of a name, or nil.
func (s *spec) set(name string) *attrSet {
	for i, set := range s.AttributeSets {
		if set.Name == name {
			return &s.AttributeSets[i]
		}
	}
	return nil
}

// nested returns the set whose numbers a nest has inside, a whole one, or nil.
func (s *spec) nested(a *attr) *attrSet {
	set := s.set(a.NestedAttributes)
	if set != nil && set.SubsetOf != "" {
		return s.set(set.SubsetOf)
	}
	return set
}

// attr returns the attribute of a name, or nil.
func (set *attrSet) attr(name string) *attr {
	for i, a := range set.Attributes {
		if a.Name == name {
			return &set.Attributes[i]
		}
	}
	return nil
}

// all returns the checks that are present, by their names in the language.
func (c *checks) all() map[string]*limit {
	all := map[string]*limit{"min": c.Min, "max": c.Max,
		"min-len": c.MinLen, "max-len": c.MaxLen, "exact-len": c.ExactLen}
	for name, l := range all {
		if l == nil {
			delete(all, name)
		}
	}
	return all
}

// exchanges returns the do and the dump of an operation, as far as it has them.
func (op *operation) exchanges() []*exchange {
	return slices.DeleteFunc([]*exchange{op.Do, op.Dump}, func(x *exchange) bool { return x == nil })
}

// requestAttrs returns the names of all attributes that a request may have.
func (op *operation) requestAttrs() []string {
	var all []string
	for _, x := range op.exchanges() {
		if x.Request == nil {
			continue
		}
		for _, name := range x.Request.Attributes {
			if !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
	}
	return all
}

// cName returns a name as it stands in the uapi header.
func cName(parts ...string) string {
	return strings.ToUpper(strings.ReplaceAll(strings.Join(parts, "-"), "-", "_"))
}

// goName returns a name as it stands in package wire.
func goName(parts ...string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(strings.Join(parts, "-"), "-") {
		b.WriteString(upperFirst(word))
	}
	return b.String()
}

// upperFirst and lowerFirst change the case of an ASCII text's first letter.
func upperFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func lowerFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}

// cConst returns the C name of a constant.
func (s *spec) cConst(d *definition) string {
	if d.NamePrefix != "" {
		return cName(strings.TrimSuffix(d.NamePrefix, "-"), d.Name)
	}
	return cName(s.Name, d.Name)
}

// cOp returns the C name of an operation.
func (s *spec) cOp(op *operation) string {
	if p := s.Operations.NamePrefix; p != "" {
		return cName(strings.TrimSuffix(p, "-"), op.Name)
	}
	return cName(s.Name, "cmd", op.Name)
}
