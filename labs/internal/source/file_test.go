// SPDX-License-Identifier: MIT

package source_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nlpeer/internal/fuzzing"
	"nlpeer/labs/internal/source"
)

const annotated = `/* head */
int f(void)
{
	//> todo 1
	//| /* TODO(1): say it */
	//|
	//| 	return 0;
	//> solved
	say();
	return 1;
	//> mistake silent
	//| return 1;
	//> end
}
//> todo 2
//| // TODO(2): g
//> solved
int g;
//> mistake silent
//| int h;
//> mistake loud
//| int loud;
//> end
`

func TestRender(t *testing.T) {
	f, err := source.ParseFile("x.c", []byte(annotated))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{1, 2}, f.Regions()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"silent", "loud"}, f.Mistakes()); diff != "" {
		t.Error(diff)
	}
	const (
		head   = "/* head */\nint f(void)\n{\n"
		todo1  = "\t/* TODO(1): say it */\n\n\t\treturn 0;\n}\n"
		say    = "\tsay();\n\treturn 1;\n}\n"
		silent = "\treturn 1;\n}\n"
		todo2  = "// TODO(2): g\n"
	)
	for name, c := range map[string]struct {
		v    source.Variant
		want string
	}{
		"skeleton":         {source.Variant{}, head + todo1 + todo2},
		"stage 1":          {source.Variant{Solved: 1}, head + say + todo2},
		"stage 2":          {source.Variant{Solved: 2}, head + say + "int g;\n"},
		"all":              {source.All, head + say + "int g;\n"},
		"a mistake":        {source.Variant{Solved: 2, Mistake: "loud"}, head + say + "int loud;\n"},
		"in two places":    {source.Variant{Solved: 2, Mistake: "silent"}, head + silent + "int h;\n"},
		"of another file":  {source.Variant{Solved: 2, Mistake: "other"}, head + say + "int g;\n"},
		"in a later stage": {source.Variant{Solved: 1, Mistake: "loud"}, head + say + "int loud;\n"},
	} {
		got, err := f.Render(c.v)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(c.want, string(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// Go code is formatted, and what is no Go in some variant is found.
func TestRenderGo(t *testing.T) {
	f, err := source.ParseFile("x.go", []byte("package p\n\n//> todo 1\n//| var   a  =  1\n//> solved\nvar b = 2\n//> end\n"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := f.Render(source.Variant{})
	if err != nil || string(got) != "package p\n\nvar a = 1\n" {
		t.Errorf("skeleton %q, %v", got, err)
	}
	f, err = source.ParseFile("x.go", []byte("package p\n\n//> todo 1\n//| func {\n//> solved\nvar b = 2\n//> end\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Render(source.Variant{}); err == nil || !strings.HasPrefix(err.Error(), "x.go, with TODOs up to 0 solved: 3:6: ") {
		t.Errorf("a skeleton that is no Go: %v", err)
	}
	if _, err := f.Render(source.All); err != nil {
		t.Errorf("its solution: %v", err)
	}
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"//> todo 1\n//> solved\n", `x.c:1: the region that begins here has no "//> end"`},
		{"//> todo 1\n//> todo 2\n", `x.c:2: a region in the one of line 1; regions do not nest`},
		{"//> todo\n", `x.c:1: "//> todo" has 1 words, want 2`},
		{"//> todo one\n", `x.c:1: "one" is no number of a TODO`},
		{"//> todo 0\n", `x.c:1: "0" is no number of a TODO`},
		{"a\n//> end\n", `x.c:2: "//> end" outside of a region`},
		{"//> solved\n", `x.c:1: "//> solved" outside of a region`},
		{"//>\n", `x.c:1: "//> " is none of todo N, solved, mistake NAME, end`},
		{"//> begin 1\n", `x.c:1: "//> begin 1" is none of todo N, solved, mistake NAME, end`},
		{"//| x\n", `x.c:1: a line after "//|" outside of a region`},
		{"//> todo 1\nx\n", `x.c:2: this line needs a "//|" in front of it, or a "//> solved" above it`},
		{"//> todo 1\n//|x\n", `x.c:2: a blank is missing after "//|"`},
		{"//> todo 1\n//> solved\n//| x\n", `x.c:3: a line after "//|" among those of the solution`},
		{"//> todo 1\n//> end\n", `x.c:2: the region that begins in line 1 has no "//> solved"`},
		{"//> todo 1\n//> mistake a\n", `x.c:2: "//> mistake" comes after the lines of the solution`},
		{"//> todo 1\n//> solved\n//> solved\n", `x.c:3: "//> solved" comes once, after the lines of the skeleton`},
		{"//> todo 1\n//> solved\n//> mistake A_b\n", `x.c:3: "A_b": names of mistakes are lower-case words joined by hyphens`},
	} {
		_, err := source.ParseFile("x.c", []byte(c.text))
		if err == nil || err.Error() != c.want {
			t.Errorf("%q: %v, want %s", c.text, err, c.want)
		}
	}
}

// Whatever a file holds, parsing ends, and what it parses can be rendered.
func FuzzParseFile(f *testing.F) {
	f.Add([]byte(annotated))
	f.Fuzz(func(t *testing.T, text []byte) {
		defer fuzzing.Limit(text)()
		file, err := source.ParseFile("x.c", text)
		if err != nil {
			return
		}
		got, err := file.Render(source.All)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) > len(text) {
			t.Fatalf("%d bytes have become %d", len(text), len(got))
		}
	})
}
