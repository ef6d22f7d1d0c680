// SPDX-License-Identifier: MIT

package cli

import (
	"errors"
	"strconv"

	"golang.org/x/sys/unix"
)

// Names of routing, as /etc/iproute2 has them to begin with.
var (
	tables = map[uint32]string{unix.RT_TABLE_DEFAULT: "default", unix.RT_TABLE_MAIN: "main", unix.RT_TABLE_LOCAL: "local"}
	scopes = map[uint8]string{
		unix.RT_SCOPE_UNIVERSE: "global", unix.RT_SCOPE_SITE: "site", unix.RT_SCOPE_LINK: "link",
		unix.RT_SCOPE_HOST: "host", unix.RT_SCOPE_NOWHERE: "nowhere",
	}
)

// Table is the name of a routing table, or its number.
func Table(n uint32) string {
	if name, ok := tables[n]; ok {
		return name
	}
	return strconv.FormatUint(uint64(n), 10)
}

// TableNames are the tables that have a name.
var TableNames = []string{"local", "main", "default"}

// ParseTable parses a routing table of 1 to 255.
func ParseTable(s string) (uint8, error) {
	for n, name := range tables {
		if s == name {
			return uint8(n), nil
		}
	}
	n, err := strconv.ParseUint(s, 10, 8)
	if err != nil || n == 0 {
		return 0, errors.New("must be local, main, default, or a number from 1 to 255")
	}
	return uint8(n), nil
}

// Scope is the name of the scope of an address or a route, or its number.
func Scope(n uint8) string {
	if name, ok := scopes[n]; ok {
		return name
	}
	return strconv.Itoa(int(n))
}

// ScopeNames are the scopes that have a name, from wide to narrow.
var ScopeNames = []string{"global", "site", "link", "host", "nowhere"}

// ParseScope parses a scope.
func ParseScope(s string) (uint8, error) {
	for n, name := range scopes {
		if s == name {
			return n, nil
		}
	}
	n, err := strconv.ParseUint(s, 10, 8)
	if err != nil {
		return 0, errors.New("must be global, site, link, host, nowhere, or a number from 0 to 255")
	}
	return uint8(n), nil
}
