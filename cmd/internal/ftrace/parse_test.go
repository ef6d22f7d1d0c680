// SPDX-License-Identifier: MIT

package ftrace_test

import (
	"bytes"
	gocmp "cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nlpeer/cmd/internal/ftrace"
	"nlpeer/internal/fuzzing"
)

var update = flag.Bool("update", false, "write the golden files of testdata again")

// text writes trees so that they can be compared: all that is known of a call.
func text(trees []*ftrace.Tree) string {
	var b strings.Builder
	var call func(indent string, c *ftrace.Call)
	call = func(indent string, c *ftrace.Call) {
		fmt.Fprintf(&b, "%s%s", indent, c.Function)
		if c.Module != "" {
			fmt.Fprintf(&b, " [%s]", c.Module)
		}
		fmt.Fprintf(&b, " at %v", c.Start)
		if c.Unfinished {
			b.WriteString(" unfinished")
		} else {
			fmt.Fprintf(&b, " for %v", c.Duration)
		}
		if c.Cut {
			b.WriteString(" cut")
		}
		b.WriteByte('\n')
		for _, called := range c.Calls {
			call(indent+"  ", called)
		}
	}
	for _, tree := range trees {
		fmt.Fprintf(&b, "%s %d %s:\n", tree.Task, tree.PID, tree.Context)
		call("  ", tree.Root)
	}
	return b.String()
}

// What kernels have recorded: an echo and a route on 6.1, and with all tasks the
// broadcasts of two events on 6.12.
func TestParseRecorded(t *testing.T) {
	files, err := filepath.Glob("testdata/*.trace")
	if err != nil || len(files) != 3 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		trace, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		trees, strange, err := ftrace.Parse(bytes.NewReader(trace))
		if err != nil || strange != 0 {
			t.Errorf("%s: %d strange lines, %v", file, strange, err)
		}
		got := text(trees)
		golden := strings.TrimSuffix(file, ".trace") + ".golden"
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", golden, diff)
		}
	}
}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		name, trace, want string
		strange           int
	}{
		{name: "nothing"},
		{
			name: "an interrupt is no call of what it interrupts",
			trace: `
 1.000001 |   0)   a-7   |  ..... |               |  f() {
 1.000002 |   0)   a-7   |  d.h1. |               |  tick [m]() {
 1.000003 |   0)   a-7   |  d.h1. |   0.500 us    |    g();
 1.000004 |   0)   a-7   |  d.h.. |   2.000 us    |  } /* tick [m] */
 1.000005 |   0)   a-7   |  ..s1. |   0.100 us    |    soft();
 1.000006 |   0)   a-7   |  ..... |   0.200 us    |    h();
 1.000007 |   0)   a-7   |  ..... |   6.000 us    |  } /* f */
`,
			want: `a 7 task:
  f at 1.000001s for 6µs
    h at 1.000006s for 200ns
a 7 interrupt:
  tick [m] at 1.000002s for 2µs
    g at 1.000003s for 500ns
a 7 softirq:
  soft at 1.000005s for 100ns
`,
		},
		{
			name: "tasks take turns",
			trace: `
 1.000001 |   0)   a-7   |  ..... |               |  f() {
 ------------------------------------------
 0)    a-7    =>   b-8
 ------------------------------------------

 1.000002 |   0)   b-8   |  ..... |               |  f() {
 1.000003 |   1)   a-7   |  ..... |   1.000 us    |    g();
 1.000004 |   0)   b-8   |  ..... |   2.000 us    |  } /* f */
 1.000005 |   1)   a-7   |  ..... |   4.000 us    |  } /* f */
`,
			want: `a 7 task:
  f at 1.000001s for 4µs
    g at 1.000003s for 1µs
b 8 task:
  f at 1.000002s for 2µs
`,
		},
		{
			name: "each processor has an idle task",
			trace: `
 1.000001 |   0)  <idle>-0  |  d.h2. |               |  f() {
 1.000002 |   1)  <idle>-0  |  d.h2. |   1.000 us    |  g();
 1.000003 |   0)  <idle>-0  |  d.h2. |   2.000 us    |  } /* f */
`,
			want: `<idle> 0 interrupt:
  f at 1.000001s for 2µs
<idle> 0 interrupt:
  g at 1.000002s for 1µs
`,
		},
		{
			name: "the beginning is lost",
			trace: `
CPU:0 [LOST 12 EVENTS]
 1.000001 |   0)   a-7   |  ..... |   1.000 us    |  before();
 1.000006 |   0)   a-7   |  ..... |   1.000 us    |      g();
 1.000009 |   0)   a-7   |  ..... |   4.300 us    |    } /* f [m] */
 1.000010 |   0)   a-7   |  ..... |   1.000 us    |    h();
 1.000020 |   0)   a-7   |  ..... |   17.500 us   |  } /* e */
`,
			want: `a 7 task:
  before at 1.000001s for 1µs
a 7 task:
  e at 1.000002s for 17.5µs cut
    f [m] at 1.000004s for 4.3µs cut
      g at 1.000006s for 1µs
    h at 1.00001s for 1µs
`,
		},
		{
			name: "ends are lost",
			trace: `
 1.000001 |   0)   a-7   |  ..... |               |  f() {
 1.000002 |   0)   a-7   |  ..... |               |    g() {
 1.000003 |   0)   a-7   |  ..... |               |      h() {
 1.000004 |   0)   a-7   |  ..... |   3.000 us    |  } /* f */
 1.000005 |   0)   a-7   |  ..... |               |  f() {
`,
			want: `a 7 task:
  f at 1.000001s for 3µs
    g at 1.000002s unfinished
      h at 1.000003s unfinished
a 7 task:
  f at 1.000005s unfinished
`,
		},
		{
			name: "a function that calls itself",
			trace: `
 1.000001 |   0)   a-7   |  ..... |               |  f() {
 1.000002 |   0)   a-7   |  ..... |               |    f() {
 1.000003 |   0)   a-7   |  ..... |   1.000 us    |    } /* f */
 1.000004 |   0)   a-7   |  ..... |   3.000 us    |  } /* f */
`,
			want: `a 7 task:
  f at 1.000001s for 3µs
    f at 1.000002s for 1µs
`,
		},
		{
			name: "a module's function is not the kernel's of the same name",
			trace: `
 1.000001 |   0)   a-7   |  ..... |               |  f() {
 1.000002 |   0)   a-7   |  ..... |               |    f [m]() {
 1.000004 |   0)   a-7   |  ..... |   3.000 us    |  } /* f */
`,
			want: `a 7 task:
  f at 1.000001s for 3µs
    f [m] at 1.000002s unfinished
`,
		},
		{
			name: "a task may be called anything",
			trace: `
 1.000001 |   0)  a-1 | b-7   |  ..... |   1.000 us    |  f();
 1.000002 |   0)  -8   |  ..... |   1.000 us    |  f();
`,
			want: `a-1 | b 7 task:
  f at 1.000001s for 1µs
 8 task:
  f at 1.000002s for 1µs
`,
		},
		{
			name: "marks, remarks and more flags",
			trace: `
 1.000001 |   0)   a-7   |  ...... | ! 100.500 us  |  f();
 1.000003 |   0)   a-7   |  ..... |               |  /* a remark */
`,
			want: `a 7 task:
  f at 1.000001s for 100.5µs
`,
		},
		{
			name: "the longer it takes, the fewer digits",
			trace: `
 1.000001 |   0)   a-7   |  ..... |               |  f() {
 1.000002 |   0)   a-7   |  ..... | * 12345.67 us |    g();
 1.000003 |   0)   a-7   |  ..... |               |    h() {
 1.000004 |   0)   a-7   |  ..... | # 9999.012 us |    } /* h */
 1.000005 |   0)   a-7   |  ..... | @ 123456.7 us |  } /* f */
 1.000006 |   0)   a-7   |  ..... |               |  f() {
 1.000007 |   0)   a-7   |  ..... | $ 12345678 us |  } /* f */
`,
			want: `a 7 task:
  f at 1.000001s for 123.4567ms
    g at 1.000002s for 12.34567ms
    h at 1.000003s for 9.999012ms
a 7 task:
  f at 1.000006s for 12.345678s
`,
		},
		{
			name: "what no kernel writes",
			trace: ` 1.000001 |   0)   a-7   |  ..... |   1.000 us    |  f(
 1.000001 |   0)   a-7   |  ..... |   1.0000 us   |  } /* f */
hello
 1.000001 |   0)   a-7   |  ..... |   1.000 us    |  }
 99999999999.000001 |   0)   a-7   |  ..... |   1.000 us    |  f();
 1.000001 |   0)   a   |  ..... |   1.000 us    |  f();
`,
			strange: 6,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			trees, strange, err := ftrace.Parse(strings.NewReader(tt.trace))
			if err != nil || strange != tt.strange {
				t.Errorf("%d strange lines, want %d; %v", strange, tt.strange, err)
			}
			if diff := cmp.Diff(tt.want, text(trees)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A line that no kernel writes ends it, without growing.
func TestParseEndlessLine(t *testing.T) {
	if _, _, err := ftrace.Parse(strings.NewReader(strings.Repeat("x", 1<<20))); err == nil {
		t.Error("no error")
	}
}

// Whatever the text is, each line makes at most one call, which has one place.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.trace")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		trace, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(trace[:2000]) // more would only make it slow
		f.Add(trace[len(trace)-2000:])
	}
	f.Fuzz(func(t *testing.T, trace []byte) {
		defer fuzzing.Limit(trace)()
		trees, strange, err := ftrace.Parse(bytes.NewReader(trace))
		if err != nil {
			return
		}
		seen := map[*ftrace.Call]bool{}
		var walk func(c *ftrace.Call)
		walk = func(c *ftrace.Call) {
			if seen[c] {
				t.Fatalf("%s is in two places", c.Function)
			}
			seen[c] = true
			if c.Function == "" || c.Start < 0 || c.Duration < 0 {
				t.Fatalf("%+v", *c)
			}
			for _, called := range c.Calls {
				walk(called)
			}
		}
		for _, tree := range trees {
			walk(tree.Root)
		}
		if lines := bytes.Count(trace, []byte("\n")) + 1; len(seen)+strange > lines {
			t.Errorf("%d calls and %d strange lines of %d", len(seen), strange, lines)
		}
		if !slices.IsSortedFunc(trees, func(a, b *ftrace.Tree) int { return gocmp.Compare(a.Root.Start, b.Root.Start) }) {
			t.Error("not in order")
		}
	})
}
