// SPDX-License-Identifier: MIT

package nlpeer_test

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Every benchmark works: one operation of each case, by all contenders, on the
// module as it is. An echo that differs from what was sent is an error of its
// contender.
func TestBenchmarks(t *testing.T) {
	needQEMU(t)
	contenders := []string{"c-mnl", "c-nl", "c-other", "c-sendrecv"}
	needTool(t, "build/bin/nlbench")
	for _, c := range contenders {
		needTool(t, filepath.Join("build/bin/contenders", c))
	}
	var stderr bytes.Buffer
	cmd := exec.Command("build/bin/nlbench", "--smoke", "-o", "json")
	cmd.Stderr = &stderr
	began := time.Now()
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("%v\n%s", err, stderr.Bytes())
	}
	t.Logf("it took %v", time.Since(began).Round(time.Second))

	type record struct {
		Type, Case, Carrier, Contender, Reason string
		Size, Batch, N                         int
		Cost                                   float64
	}
	figures, cases, who, carriers := 0, map[record]bool{}, map[string]int{}, map[string]int{}
	ended := false
	for line := range strings.Lines(string(out)) {
		var r record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		switch r.Type {
		case "result":
			if r.Cost <= 0 {
				t.Errorf("no figure: %s", line)
			}
			figures++
			who[r.Contender]++
			carriers[r.Carrier]++
			cases[record{Case: r.Case, Carrier: r.Carrier, Size: r.Size, Batch: r.Batch, N: r.N}] = true
		case "error":
			t.Errorf("%s", line)
		case "skip":
			// The one thing that a library can not do.
			if r.Contender != "c-nl" || r.Batch < 2 {
				t.Errorf("%s", line)
			}
		case "end":
			ended = true
		}
	}
	if !ended {
		t.Error("the results are cut off")
	}
	for _, name := range []string{"c", "c-mnl", "c-nl", "go-raw", "nlpeer", "nlpeer-pipeline", "mdlayher", "mdlayher-buffer",
		"genetlink", "vishvananda", "vishvananda-execute", "kernel"} {
		if who[name] == 0 {
			t.Errorf("%s has no figure", name)
		}
	}
	for _, name := range []string{"raw", "genl", "connector", "rtnl", "ioctl", "chardev", "proc", "sysfs", "ring"} {
		if carriers[name] == 0 {
			t.Errorf("nothing was measured by %s", name)
		}
	}
	var kinds []string
	for c := range cases {
		if !slices.Contains(kinds, c.Case) {
			kinds = append(kinds, c.Case)
		}
	}
	slices.Sort(kinds)
	if s := strings.Join(kinds, " "); s != "broadcast dump echo get rate receive syscall" {
		t.Errorf("measured: %s", s)
	}
	if len(cases) < 70 || figures < 250 {
		t.Errorf("%d figures in %d cases, want more", figures, len(cases))
	}
}
