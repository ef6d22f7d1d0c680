// SPDX-License-Identifier: MIT

package nlbench_test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nlpeer"
	"nlpeer/cmd/internal/cli"
	"nlpeer/cmd/internal/clitest"
	"nlpeer/cmd/internal/nlbench"
	"nlpeer/internal/bench"
)

var update = flag.Bool("update", false, "write testdata/*.golden again")

func TestMain(m *testing.M) { clitest.Main(m, nlbench.Command) }

func TestCommon(t *testing.T) {
	clitest.CheckOutputEnds(t)
	if got := clitest.Run(t.Context(), nlbench.Command, "--version"); got.Out != "nlbench "+nlpeer.Version()+"\n" || got.Code != cli.ExitOK {
		t.Errorf("--version: %+v", got)
	}
	help := clitest.Run(t.Context(), nlbench.Command, "--help").Out
	for _, want := range []string{"EXIT STATUS", "JSON", "Examples:", "Flags:", "--output", "--host", "report"} {
		if !strings.Contains(help, want) {
			t.Errorf("help has no %q", want)
		}
	}
	if strings.Contains(help, "guest  ") {
		t.Error("help shows the command for the guest")
	}
	if got := clitest.Complete(t, nlbench.Command, "--output", ""); cmp.Diff([]string{"text", "json"}, got) != "" {
		t.Errorf("after -o: %q", got)
	}
	if got := clitest.Complete(t, nlbench.Command, "--rounds", ""); len(got) != 0 {
		t.Errorf("after --rounds: %q", got)
	}
}

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"twice"}, `takes no argument, but there is "twice"`},
		{[]string{"--rounds", "0"}, "must be a number from 1 to 1000"},
		{[]string{"--rounds", "x"}, "must be a number from 1 to 1000"},
		{[]string{"--only", "("}, "missing closing )"},
		{[]string{"-o", "xml"}, "must be text or json"},
		{[]string{"--host", "--kernel", "6.12"}, "--host and --kernel contradict each other"},
		{[]string{"--host", "--quick"}, "--host is quick; drop --quick"},
		{[]string{"report"}, "takes one FILE"},
		{[]string{"report", "a", "b"}, "takes one FILE"},
	} {
		got := clitest.Run(t.Context(), nlbench.Command, c.args...)
		if got.Code != cli.ExitError || got.Out != "" || !strings.Contains(got.Err, c.want) || !strings.Contains(got.Err, "--help") {
			t.Errorf("%q: %+v, want %q and a hint at --help", c.args, got, c.want)
		}
	}
}

const (
	runLine  = `{"type":"run","schema":1,"version":"1.1","kernel":"6.1.0-56-amd64","go":"go1.26.8","unit":"instructions","wall":false,"rounds":3,"arguments":"mitigations=off"}`
	echoC    = `{"type":"result","case":"echo","carrier":"raw","size":64,"batch":1,"contender":"c","cost":5948,"min":5940,"max":5960,"spread_percent":0.3,"operations":1700}`
	echoOurs = `{"type":"result","case":"echo","carrier":"raw","size":64,"batch":1,"contender":"nlpeer","cost":6500,"min":6500,"max":6600,"spread_percent":1.5,"operations":1500,"allocs":0,"bytes":0}`
	skipNL   = `{"type":"skip","case":"echo","carrier":"raw","size":64,"batch":4,"contender":"c-nl","reason":"libnl has no such call"}`
	rateOurs = `{"type":"result","case":"rate","carrier":"raw","size":64,"batch":64,"contender":"nlpeer","cost":2000,"min":1990,"max":2010,"spread_percent":1,"operations":1500,"allocs":0.01,"bytes":1,"burst":1580}`
	failed   = `{"type":"error","case":"get","carrier":"raw","size":64,"batch":1,"contender":"mdlayher","reason":"no such file"}`
	endLine  = `{"type":"end"}`
)

// machine puts an nlvm on PATH that prints lines and ends with a status, and
// returns flags for nlbench and the file that has what nlvm was called with.
func machine(t *testing.T, status string, lines ...string) (flags []string, called string) {
	t.Helper()
	dir := t.TempDir()
	called = filepath.Join(dir, "called")
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write("nlvm", "#!/bin/sh\necho \"$*\" >"+called+"\ncat <<'END'\n"+strings.Join(lines, "\n")+"\nEND\necho nlvm: words >&2\nexit "+status+"\n")
	write("contenders/c-sendrecv", "")
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return []string{"--programs", filepath.Join(dir, "contenders")}, called
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func TestOutput(t *testing.T) {
	flags, called := machine(t, "0", runLine, echoC, echoOurs, skipNL, rateOurs, failed, endLine)
	kept := filepath.Join(t.TempDir(), "new", "results.json")
	got := clitest.Run(t.Context(), nlbench.Command, append(flags, "--write", kept, "--rounds", "3", "--quick")...)
	// Something failed, and most targets can not be computed.
	if got.Code != cli.ExitFailed || got.Err != "nlvm: words\n" {
		t.Errorf("exit code %d, standard error %q", got.Code, got.Err)
	}
	golden(t, "output", got.Out)

	line, err := os.ReadFile(called)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"run --image tools ", " --icount ", " --extra-module kmod/bench ", " -- ./nlbench guest --programs contenders --quick --rounds 3\n"} {
		if !strings.Contains(string(line), want) {
			t.Errorf("nlvm was called with %q, want %q in it", line, want)
		}
	}
	r, err := bench.ReadFile(kept)
	if err != nil || len(r.Records) != 5 {
		t.Errorf("the file has %+v, %v", r, err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(kept), "*")); len(left) != 1 {
		t.Errorf("besides the file there is %q", left)
	}
}

func TestOutputJSON(t *testing.T) {
	flags, _ := machine(t, "0", runLine, echoC, echoOurs, endLine)
	got := clitest.Run(t.Context(), nlbench.Command, append(flags, "-o", "json")...)
	var types []string
	for line := range strings.Lines(got.Out) {
		var v struct {
			Type    string
			Name    string
			Value   *float64
			Missing string
		}
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if v.Type == "target" && (v.Value == nil) == (v.Missing == "") {
			t.Errorf("a target with %+v", v)
		}
		if len(types) == 0 || types[len(types)-1] != v.Type {
			types = append(types, v.Type)
		}
	}
	if s := strings.Join(types, " "); s != "run result end target" {
		t.Errorf("lines of types %s", s)
	}
}

// A part of the cases has no targets to miss.
func TestOnly(t *testing.T) {
	for _, flag := range []string{"--only=echo/raw", "--smoke"} {
		flags, called := machine(t, "0", runLine, echoC, echoOurs, endLine)
		got := clitest.Run(t.Context(), nlbench.Command, append(flags, flag)...)
		if got.Code != cli.ExitOK || strings.Contains(got.Out, "must") {
			t.Errorf("%s: %+v", flag, got)
		}
		line, err := os.ReadFile(called)
		if err != nil {
			t.Fatal(err)
		}
		if slow := strings.Contains(string(line), "--icount"); slow != (flag != "--smoke") {
			t.Errorf("%s: nlvm was called with %q", flag, line)
		}
	}
}

// A word that no case has measures nothing, which is an error, and takes nothing
// from what was measured before.
func TestOnlyNothing(t *testing.T) {
	kept := filepath.Join(t.TempDir(), "results.json")
	if err := os.WriteFile(kept, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, only := range []string{"nosuch", "^family/generic c$"} {
		got := clitest.Run(t.Context(), nlbench.Command, "--host", "--smoke", "--only", only, "--write", kept)
		want := "nlbench: --only " + only + " finds no case and contender; what there is shows: nlbench --host --smoke\n"
		if got.Code != cli.ExitError || got.Err != want {
			t.Errorf("%+v, want %q", got, want)
		}
		if b, err := os.ReadFile(kept); string(b) != "old" || err != nil {
			t.Errorf("the earlier file has become %q, %v", b, err)
		}
	}
	got := clitest.Run(t.Context(), nlbench.Command, "guest", "--smoke", "--only", "nosuch")
	if want := "; what there is shows: nlbench --smoke\n"; got.Code != cli.ExitError || !strings.HasSuffix(got.Err, want) {
		t.Errorf("%+v, want %q", got, want)
	}
}

func TestGuestFails(t *testing.T) {
	for name, c := range map[string]struct {
		status string
		lines  []string
		code   int
		want   string
	}{
		"at once":       {"2", nil, cli.ExitError, "nlbench: nothing was measured: nlvm: exit status 2\n"},
		"before any":    {"2", []string{runLine}, cli.ExitError, "nlbench: nothing was measured: nlvm: exit status 2\n"},
		"in the middle": {"121", []string{runLine, echoC}, cli.ExitFailed, "nlbench: not all was measured: nlvm: exit status 121\n"},
		"at the end":    {"123", []string{runLine, echoC, endLine}, cli.ExitFailed, "nlbench: not all was measured: nlvm: exit status 123\n"},
		"cut off":       {"0", []string{runLine, echoC}, cli.ExitError, "nlbench: results from the guest: cut off: "},
		"noise":         {"0", []string{runLine, "hello"}, cli.ExitError, "nlbench: results from the guest: line 2: invalid character 'h'"},
		"noise, killed": {"$(kill -TERM $$)", []string{runLine, "hello"}, cli.ExitError, "nlbench: results from the guest: line 2: invalid character 'h'"},
		"nothing":       {"0", nil, cli.ExitError, "nlbench: results from the guest: cut off: "},
	} {
		t.Run(name, func(t *testing.T) {
			flags, _ := machine(t, c.status, c.lines...)
			kept := filepath.Join(t.TempDir(), "results.json")
			if err := os.WriteFile(kept, []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
			got := clitest.Run(t.Context(), nlbench.Command, append(flags, "--only", "c", "--write", kept)...)
			if got.Code != c.code || !strings.Contains(got.Err, c.want) {
				t.Errorf("%+v, want code %d and %q", got, c.code, c.want)
			}
			// A file is replaced by a whole one only.
			whole := slices.Contains(c.lines, endLine)
			if b, err := os.ReadFile(kept); (string(b) == "old") == whole || err != nil {
				t.Errorf("the earlier file has become %q, %v", b, err)
			}
			if _, err := bench.ReadFile(kept); (err == nil) != whole {
				t.Errorf("the file: %v", err)
			}
		})
	}
}

// That the file could not be kept is said whatever became of the contenders.
func TestWriteFails(t *testing.T) {
	for name, lines := range map[string][]string{
		"all is well":         {runLine, echoC, endLine},
		"a contender failed":  {runLine, echoC, failed, endLine},
		"the guest broke off": {runLine, echoC},
	} {
		t.Run(name, func(t *testing.T) {
			flags, _ := machine(t, "0", lines...)
			dir := filepath.Join(t.TempDir(), "results.json")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			got := clitest.Run(t.Context(), nlbench.Command, append(flags, "--only", "c", "--write", dir)...)
			want := "file exists"
			if name == "the guest broke off" {
				want = "results from the guest: cut off: "
			}
			if got.Code != cli.ExitError || !strings.Contains(got.Err, want) {
				t.Errorf("%+v, want code %d and %q", got, cli.ExitError, want)
			}
		})
	}
}

func TestMissing(t *testing.T) {
	flags, _ := machine(t, "0", runLine, endLine)
	empty := t.TempDir()
	if got := clitest.Run(t.Context(), nlbench.Command, "--programs", empty); got.Code != cli.ExitError ||
		!strings.Contains(got.Err, "no contenders in C in "+empty+"; in the source tree try: make contenders") {
		t.Errorf("no contenders: %+v", got)
	}
	t.Setenv("PATH", empty)
	if got := clitest.Run(t.Context(), nlbench.Command, flags...); got.Code != cli.ExitError || !strings.Contains(got.Err, "there is no nlvm") {
		t.Errorf("no nlvm: %+v", got)
	}
	if got := clitest.Run(t.Context(), nlbench.Command, "--write", "/proc/none/results.json"); got.Code != cli.ExitError || got.Out != "" {
		t.Errorf("no place for the results: %+v", got)
	}
}

// Without the module each case says so, and the exit code is not 0.
func TestGuestWithoutModule(t *testing.T) {
	clitest.NeedNoModule(t)
	got := clitest.Run(t.Context(), nlbench.Command, "guest", "--smoke", "--only", "^(echo/genl|get).* nlpeer$")
	if got.Code != cli.ExitOK {
		t.Fatalf("%+v", got)
	}
	var r bench.Results
	if err := bench.Read(strings.NewReader(got.Out), r.Add); err != nil {
		t.Fatal(err)
	}
	if len(r.Failures()) != len(r.Records) || len(r.Records) < 9 {
		t.Fatalf("%d failures of %d", len(r.Failures()), len(r.Records))
	}
	for _, rec := range r.Records {
		if !strings.Contains(rec.Reason, "nlpeer") {
			t.Errorf("%v: %q", *rec.Case, rec.Reason)
		}
	}
}

// On the kernel that runs, without a privilege or the module.
func TestHost(t *testing.T) {
	got := clitest.Run(t.Context(), nlbench.Command, "--host", "--smoke", "-o", "json")
	if got.Code != cli.ExitOK || got.Err != "" {
		t.Fatalf("%+v", got)
	}
	var r bench.Results
	if err := bench.Read(strings.NewReader(got.Out), r.Add); err != nil {
		t.Fatal(err)
	}
	figures := 0
	for _, rec := range r.Records {
		if rec.Type != bench.TypeResult {
			t.Errorf("%+v", rec)
			continue
		}
		figures++
		if rec.Case.Name != bench.Rate && (len(rec.Percentiles) != 6 || rec.Percentiles[0].Nanos <= 0) {
			t.Errorf("%v %s: percentiles %v", *rec.Case, rec.Contender, rec.Percentiles)
		}
	}
	if !r.Setting.Wall || r.Setting.Unit != bench.Nanoseconds || figures != 8 {
		t.Errorf("%d figures, %+v", figures, r.Setting)
	}
}

func TestReport(t *testing.T) {
	file := filepath.Join("testdata", "results.json")
	dir := t.TempDir()
	got := clitest.Run(t.Context(), nlbench.Command, "report", "--charts", dir, file)
	if got.Code != cli.ExitOK || got.Err != "" {
		t.Errorf("exit code %d, standard error %q", got.Code, got.Err)
	}
	golden(t, "report", got.Out)

	want := map[string][]string{
		"contenders": {"empty system call", "c, ioctl", "nlpeer, raw", "mdlayher, raw", "genetlink, genl"},
		"batches":    {"nlpeer-pipeline", "shared memory ring", "256"},
		"payloads":   {"vishvananda", "32768"},
		"listeners":  {"16 events in a datagram", "1000"},
		"dumps":      {"c-mnl", "100000"},
	}
	for name, texts := range want {
		svg, err := os.ReadFile(filepath.Join(dir, name+".svg"))
		if err != nil {
			t.Error(err)
			continue
		}
		shown := characters(t, svg)
		for _, text := range texts {
			if !strings.Contains(shown, text) {
				t.Errorf("%s.svg does not show %q", name, text)
			}
		}
		if len(svg) > 50<<10 {
			t.Errorf("%s.svg has %d bytes", name, len(svg))
		}
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "*")); len(files) != len(want) {
		t.Errorf("charts: %q", files)
	}
}

// characters is the text in a picture.
func characters(t *testing.T, svg []byte) string {
	t.Helper()
	var text strings.Builder
	for d := xml.NewDecoder(strings.NewReader(string(svg))); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return text.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		if chars, ok := token.(xml.CharData); ok {
			text.Write(chars)
		}
	}
}

func TestReportBad(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	whole := strings.Join([]string{runLine, echoC, echoOurs, endLine, ""}, "\n")
	some := write("some", whole)
	got := clitest.Run(t.Context(), nlbench.Command, "report", some)
	if got.Code != cli.ExitFailed || !strings.Contains(got.Out, "not measured: no figure for nlpeer in echo/genl/64B/x1") {
		t.Errorf("a missing contender: %+v", got)
	}
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no file":        {[]string{filepath.Join(dir, "none")}, "no such file"},
		"broken":         {[]string{write("broken", runLine+"\n{")}, "line 2: unexpected end of JSON input"},
		"cut off":        {[]string{write("cut", runLine+"\n")}, "cut off"},
		"no docs":        {[]string{"--docs", filepath.Join(dir, "none.md"), some}, "no such file"},
		"no marks":       {[]string{"--docs", write("page.md", "# Words\n"), some}, `page.md: it has no lines "<!-- nlbench report: guest: begin -->" and `},
		"marks reversed": {[]string{"--docs", write("back.md", "<!-- nlbench report: guest: end -->\n<!-- nlbench report: guest: begin -->\n"), some}, "back.md: it has no lines"},
		"no folder":      {[]string{"--charts", "/proc/none", some}, "/proc/none"},
	} {
		got := clitest.Run(t.Context(), nlbench.Command, append([]string{"report"}, c.args...)...)
		if got.Code != cli.ExitError || !strings.Contains(got.Err, c.want) {
			t.Errorf("%s: %+v, want %q", name, got, c.want)
		}
	}
}

// What stands outside of the marks stays, and a second report changes nothing.
func TestReportDocs(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.md")
	const before, after = "# Before\n\n<!-- nlbench report: guest: begin -->\n", "<!-- nlbench report: guest: end -->\n\nAfter.\n"
	if err := os.WriteFile(page, []byte(before+"old\n"+after), 0o600); err != nil {
		t.Fatal(err)
	}
	var last string
	for range 2 {
		if got := clitest.Run(t.Context(), nlbench.Command, "report", "--docs", page, filepath.Join("testdata", "results.json")); got.Code != cli.ExitOK {
			t.Fatalf("%+v", got)
		}
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		text := string(b)
		if !strings.HasPrefix(text, before) || !strings.HasSuffix(text, after) || strings.Contains(text, "old") {
			t.Errorf("the page has become:\n%s", text)
		}
		if last != "" && text != last {
			t.Error("a second report changes the page")
		}
		last = text
	}
	golden(t, "page", last)
	if charts, _ := filepath.Glob(strings.TrimSuffix(page, ".md") + "/*.svg"); len(charts) != 5 {
		t.Errorf("charts beside the page: %q", charts)
	}
}
