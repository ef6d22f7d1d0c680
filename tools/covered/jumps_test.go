// SPDX-License-Identifier: MIT

package main

import (
	"maps"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A line of a case is COUNT WAYS|CODE, both as lcov counts them and both empty for a
// line it does not know, or ANSWER|CODE of a jump that is to be found.
func TestJumps(t *testing.T) {
	for _, tt := range []struct{ name, source string }{
		{"a condition that was never true", `
			7 7,0|	if (!x)
			no|		return -ENOMEM;
			7|	y();`},
		{"one that was", `
			7 5,2|	if (!x)
			yes|		return -ENOMEM;
			7|	y();`},
		{"one that nobody came to", `
			0 -,-|	if (!x)
			no|		goto out;`},
		{"two joined: both have to have been true and untrue", `
			7 5,2,3,2|	if (!x || y)
			yes|		return false;
			7 5,2,5,0|	if (!x || y)
			no|		return false;
			7 7,0,0,7|	if (WARN_ON_ONCE(x))	/* two in one word */
			no|		return false;`},
		{"over lines, however they begin", `
			7 5,2|	if (x(1,
			7 5,0|		  2) ||
			|	    y(":-(", '(',
			|		z))
			no|		return true;
			7 5,2|	if (x(1,
			7 3,2|		  2))
			yes|		return true;
			7 5,2|	if (x(1,
			|#ifdef Y
			|	      y,
			|#endif
			|	      2))
			yes|		return true;`},
		{"the last line of a block", `
			7 7,0|	if (x) {
			|		y = 1;
			no|		break;
			|	}
			7 6,1|	if (x) {
			|		y = 1;
			yes|		continue;
			|	}`},
		{"as the statement before it", `
			3|	x();
			|	y();
			|
			yes|	return 0;
			0|	x(1,
			|	  2);
			no|	return 0;
			|	x(1,
			3|	  2);
			yes|	return 0;
			3|	x(1,
			0|	  2);
			yes|	return 0;`},
		{"a block without a way out is such a statement", `
			3 3,0|	if (x)
			|		y();
			yes|	return err;
			3 3,0|	if (x)
			2|		y();
			|	else
			0|		z();
			yes|	return err;
			0 -,-|	if (x)
			0|		y();
			no|	return err;
			|	for_each_possible_cpu(i)
			0|		y();
			no|	return err;`},
		{"behind the block of a condition", `
			7 5,2|	if (x)
			yes|		return 1;
			yes|	return 0;
			7 5,2,3,2|	if (x || y)
			yes|		return 1;
			yes|	return 0;`},
		{"nobody went in", `
			7 0,7,0,7|	if (WARN_ON_ONCE(x)) {
			0|		free();
			no|		return NULL;
			|	}
			yes|	return y;
			7 0,7|	if (x)
			no|		return NULL;
			yes|	return y;
			0 -,-|	if (x)
			no|		return NULL;
			no|	return y;
			7 0,7|	while (x) {
			0|		y();
			no|		return NULL;
			|	}
			yes|	return y;`},
		{"all went in", `
			7 0,7|	if (x) {
			7|		free();
			yes|		return NULL;
			|	}
			no|	return y;`},
		{"copies of a function", `
			49 40,0,6,3|	if (x > 1 && x < 3)
			46|		return x;
			yes|	return 4;
			49 40,0,6,3|	if (x < 1 || x > 3)
			46|		return x;
			no|	return 4;`},
		{"a loop that went to its end, or never", `
			9 8,1|	for (i = 0; i < 3; i++) {
			8 2,6|		if (x[i])
			yes|			return i;
			|	}
			yes|	return 0;
			8 8,0|	for (i = 0; i < 3; i++)
			8 2,6|		if (x[i])
			yes|			return i;
			no|	return 0;
			|	do {
			8 2,6|		if (x[i])
			yes|			break;
			6 6,0|	} while (!found);
			no|	return 0;`},
		{"else", `
			7 6,1|	if (x)
			6|		y();
			|	else
			yes|		return 1;
			7 7,0|	if (x) {
			7|		y();
			|	} else {
			no|		return 1;
			|	}
			7 6,1|	if (x) {
			6|		y();
			1 0,1|	} else if (z) {
			no|		return 1;
			|	}`},
		{"behind an else, one of them out", `
			7 6,1|	if (x) {
			6|		return y();
			|	} else {
			yes|		return 1;
			|	}
			no|	return 2;`},
		{"cases", `
			7 6,1,2|	switch (x) {
			|	case A:
			0|		y();
			no|		return 0;
			|	case B:
			|	default:
			yes|		return 0;
			|	}
			7 6,1,0|	switch (x) {
			|	case A:
			6|		y();
			yes|		break;
			|	case B:
			no|		break;
			|	}`},
		{"behind a switch", `
			7 6,1,0,1|	switch (x) {
			|	case A:
			6|		return y();
			|	}
			no|	return 0;
			7 6,1,2,1|	switch (x) {
			|	case A:
			6|		return y();
			|	}
			yes|	return 0;`},
		{"a loop of the kernel", `
			7 7,0|	if (x)
			7|		y();
			5 4,1|	list_for_each_entry(x, y)
			yes|		break;`},
		{"nothing known", `
			|int f(int x)
			|{
			|	return x;
			|}
			5|int g(int x)
			|{
			5|	if (x)
			|		return 1;
			5 4,1|	if (x)
			yes|		return 1;
			5|	y();
			|out:
			|	return 1;
			|}
			7 7,0|	if (x)
			no|		return 1;
			|	do {
			|		return 2;
			|	} while (0);
			5|int h(int x)
			|{
			|	if (x) {
			|		y();
			|		return 1;
			|	}
			|}`},
		{"known", `
			5 5,0|	if (x)
			4|		return 1;
			5 5,0|	if (x)
			|		return y(1,
			0|			 2);`},
		{"what depends on the kernel", `
			5|	x();
			|#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 1, 0)
			|	return 1;
			|#else
			|	return 2;
			|#endif
			5 5,0|	if (x)
			|#define y(x) \
			|	return 1;
			|		return 2;`},
		{"a comment", `
			5 4,1|	if (x)
			0|	/* a (
			|	return 1;
			|	can't */
			yes|		return 2;`},
	} {
		reached, want := make(map[int]bool), make(map[int]bool)
		taken := make(map[int][]bool)
		var source []string
		for i, l := range strings.Split(tt.source, "\n") {
			facts, code, _ := strings.Cut(strings.TrimLeft(l, "\t"), "|")
			source = append(source, code)
			switch facts {
			case "yes", "no":
				want[i+1] = facts == "yes"
			default:
				count, ways, _ := strings.Cut(facts, " ")
				if n, err := strconv.Atoi(count); err == nil {
					reached[i+1] = n > 0
				}
				for w := range strings.SplitSeq(ways, ",") {
					if w != "" {
						taken[i+1] = append(taken[i+1], w != "0" && w != "-")
					}
				}
			}
		}
		before := maps.Clone(reached)
		got := jumps(statements(strings.Join(source, "\n")), reached, taken)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
		if diff := cmp.Diff(before, reached); diff != "" {
			t.Errorf("%s: changed what is known (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestFunctionAt(t *testing.T) {
	source := statements(`static DEFINE_MUTEX(lock);
static const struct ops ops = {
	.f = one,
};

static inline struct x *one(int a,
			    int b)
{
	two(a);
out:
	return NULL;
}

int two(int a)
{
}
`)
	for number, want := range map[int]string{6: "one", 9: "one", 11: "one", 14: "two", 16: "two"} {
		if got := functionAt(source, number); got != want {
			t.Errorf("line %d is in %q, want %q", number, got, want)
		}
	}
}
