// SPDX-License-Identifier: MIT

package bench_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nlpeer/internal/bench"
)

const (
	runLine    = `{"type":"run","schema":1,"version":"1","kernel":"6.1","go":"go1","unit":"instructions","wall":false,"rounds":3}` + "\n"
	resultLine = `{"type":"result","case":"echo","carrier":"raw","size":64,"batch":1,"contender":"c","cost":100,"min":99,"max":101,"spread_percent":2,"operations":5}` + "\n"
	endLine    = `{"type":"end"}` + "\n"
)

func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "results.json")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestReadFile(t *testing.T) {
	r, err := bench.ReadFile(write(t, runLine+resultLine+
		`{"type":"skip","case":"echo","carrier":"raw","size":64,"batch":4,"contender":"c-nl","reason":"no"}`+"\n"+
		`{"type":"error","case":"dump","size":0,"batch":0,"contender":"nlpeer","reason":"gone"}`+"\n\n"+endLine))
	if err != nil {
		t.Fatal(err)
	}
	c := bench.Case{Name: bench.Echo, Carrier: "raw", Size: 64, Batch: 1}
	if f, ok := r.Find(c, "c"); !ok || f.Cost != 100 || f.Min != 99 || f.Max != 101 || f.Operations != 5 || f.Allocs != nil {
		t.Errorf("found %+v, %v", f, ok)
	}
	if _, ok := r.Find(c, "nlpeer"); ok {
		t.Error("found what is not there")
	}
	if _, ok := r.Find(bench.Case{Name: bench.Dump}, "nlpeer"); ok {
		t.Error("found a figure in an error")
	}
	if r.Setting.Kernel != "6.1" || r.Setting.Rounds != 3 || len(r.Records) != 3 {
		t.Errorf("read %+v", r)
	}
	if failed := r.Failures(); len(failed) != 1 || failed[0].Reason != "gone" {
		t.Errorf("failed: %+v", failed)
	}
}

func TestReadFileBroken(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"empty":            {"", `cut off: the last line must be of type "end"`},
		"cut off":          {runLine + resultLine, `cut off: the last line must be of type "end"`},
		"cut in a line":    {runLine + resultLine[:50], "line 2: unexpected end of JSON input"},
		"no JSON":          {"case cost\n", "line 1: invalid character 'c'"},
		"a wrong type":     {runLine + `{"type":"result","case":7}` + "\n" + endLine, "line 2: json: cannot unmarshal number"},
		"an unknown type":  {runLine + `{"type":"figure"}` + "\n" + endLine, `line 2: unknown type "figure"`},
		"another schema":   {strings.Replace(runLine, `"schema":1`, `"schema":2`, 1) + endLine, "line 1: schema 2, but this nlbench reads 1"},
		"no run":           {resultLine + endLine, "line 1: the run is not described before its results"},
		"an empty run":     {`{"type":"run"}` + "\n" + endLine, "line 1: the run says nothing about itself"},
		"two runs":         {runLine + runLine + endLine, "line 2: two runs in one file"},
		"two files":        {runLine + endLine + resultLine + endLine, "line 3: more after the end"},
		"no case":          {runLine + `{"type":"result","contender":"c","cost":1}` + "\n" + endLine, "line 2: no case or no contender"},
		"no contender":     {runLine + strings.Replace(resultLine, `"contender":"c",`, "", 1) + endLine, "line 2: no case or no contender"},
		"a cost of 0":      {runLine + strings.Replace(resultLine, `"cost":100`, `"cost":0`, 1) + endLine, "line 2: echo/raw/64B/x1 c: a result without a cost"},
		"no cost":          {runLine + `{"type":"result","case":"echo","size":0,"batch":1,"contender":"c"}` + "\n" + endLine, "line 2: echo/0B/x1 c: a result without a cost"},
		"a line too long ": {runLine + strings.Repeat(" ", 2<<20) + "\n" + endLine, "bufio.Scanner: token too long"},
	} {
		file := write(t, c.text)
		_, err := bench.ReadFile(file)
		if err == nil || !strings.HasPrefix(err.Error(), file+": "+c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
	if _, err := bench.ReadFile(filepath.Join(t.TempDir(), "none")); !os.IsNotExist(err) {
		t.Errorf("error %v of a file that is not there", err)
	}
}

func TestToC(t *testing.T) {
	r := &bench.Results{Setting: bench.Setting{Unit: bench.Instructions}}
	add := func(c bench.Case, who string, cost float64) {
		r.Records = append(r.Records, bench.Record{Type: bench.TypeResult, Case: &c, Contender: who, Figure: &bench.Figure{Cost: cost}})
	}
	echo := bench.Case{Name: bench.Echo, Carrier: "raw", Size: 64, Batch: 1}
	dump := bench.Case{Name: bench.Dump, Carrier: "raw", Size: 64, N: 10}
	add(echo, "c", 100)
	add(bench.Case{Name: bench.Echo, Carrier: "genl", Size: 64, Batch: 16}, "c", 7)
	add(bench.Case{Name: bench.Receive, Carrier: "raw", Size: 64, Batch: 1}, "c", 50)
	add(dump, "c", 10)
	for _, c := range []struct {
		c    bench.Case
		want float64
	}{
		{echo, 2},
		{bench.Case{Name: bench.Echo, Carrier: "genl", Size: 64, Batch: 16}, 2},
		{bench.Case{Name: bench.Echo, Carrier: "ioctl", Size: 64, Batch: 1}, 2},
		{bench.Case{Name: bench.Receive, Carrier: "raw", Size: 64, Batch: 16}, 4},
		{dump, 20},
	} {
		if got, ok := r.ToC(c.c, 200); !ok || got != c.want {
			t.Errorf("%v: %v, %v; want %v", c.c, got, ok, c.want)
		}
	}
	for _, c := range []bench.Case{
		{Name: bench.Echo, Carrier: "raw", Size: 1024, Batch: 1}, {Name: bench.Get, Carrier: "raw", Size: 64, Batch: 1},
	} {
		if got, ok := r.ToC(c, 200); ok {
			t.Errorf("%v: %v, where C has no figure", c, got)
		}
	}
}
