// SPDX-License-Identifier: MIT

package cli

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"nlpeer/pkg/wire"
)

// rawGroups is the number of groups of the raw protocol, as many as a bind has
// bits for.
const rawGroups = 32

// ParseGroups parses a list of raw groups, such as 1,3-5, into a mask: bit n-1
// stands for group n.
func ParseGroups(list string) (uint32, error) {
	var mask uint32
	for item := range strings.SplitSeq(list, ",") {
		first, last, isRange := strings.Cut(item, "-")
		if !isRange {
			last = first
		}
		low, err := parseGroup(first)
		if err != nil {
			return 0, fmt.Errorf("group %q %w", item, err)
		}
		high, err := parseGroup(last)
		if err != nil {
			return 0, fmt.Errorf("group %q %w", item, err)
		}
		if low > high {
			return 0, fmt.Errorf("groups %q run backwards; try: %d-%d", item, high, low)
		}
		for n := low; n <= high; n++ {
			mask |= 1 << (n - 1)
		}
	}
	return mask, nil
}

func parseGroup(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrSyntax):
		return 0, fmt.Errorf("is not understood; must be numbers from 1 to %d, such as 1,3-5", rawGroups)
	case err != nil || n < 1 || n > rawGroups:
		return 0, fmt.Errorf("is out of range; must be 1 to %d", rawGroups)
	}
	return int(n), nil
}

// ParseMask parses a mask of raw groups, such as 0x15 for 1,3,5.
func ParseMask(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 0, 32)
	if err != nil {
		return 0, errors.New("must be a number of 32 bits, such as 0x15 for groups 1, 3 and 5")
	}
	return uint32(n), nil
}

// Groups returns the groups of a mask.
func Groups(mask uint32) []uint32 {
	groups := make([]uint32, 0, bits.OnesCount32(mask))
	for ; mask != 0; mask &= mask - 1 {
		groups = append(groups, uint32(bits.TrailingZeros32(mask))+1)
	}
	return groups
}

// GroupList writes a mask as ParseGroups reads it, and 0 as "none".
func GroupList(mask uint32) string {
	if mask == 0 {
		return "none"
	}
	var list []string
	for groups := Groups(mask); len(groups) > 0; {
		n := 1
		for n < len(groups) && groups[n] == groups[0]+uint32(n) {
			n++
		}
		switch n {
		case 1:
			list = append(list, fmt.Sprint(groups[0]))
		case 2:
			list = append(list, fmt.Sprint(groups[0]), fmt.Sprint(groups[1]))
		default:
			list = append(list, fmt.Sprintf("%d-%d", groups[0], groups[n-1]))
		}
		groups = groups[n:]
	}
	return strings.Join(list, ",")
}

// GroupNames are the groups of generic netlink that are known here. The kernel
// may have more.
var GroupNames = []string{wire.McgrpBeacon, wire.McgrpObjects}

// ParseGroupNames parses a list of names of generic netlink groups.
func ParseGroupNames(list string) ([]string, error) {
	names := strings.Split(list, ",")
	for _, name := range names {
		if name == "" {
			return nil, fmt.Errorf("the list %q has an empty name", list)
		}
		if strings.Trim(name, "0123456789-") == "" {
			return nil, fmt.Errorf("group %q is a number; on generic netlink groups have names: %s", name, strings.Join(GroupNames, ", "))
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// GroupName is what an event's group is called: a number on the raw protocol, a
// name on generic netlink and the connector.
func GroupName(group uint32) string {
	switch group {
	case wire.GroupBeacon:
		return wire.McgrpBeacon
	case wire.GroupObjects:
		return wire.McgrpObjects
	case wire.GroupConnector:
		return "connector"
	}
	return strconv.FormatUint(uint64(group), 10)
}
