// SPDX-License-Identifier: MIT

package ftrace_test

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nlpeer/cmd/internal/ftrace"
)

// atRest is the tracing folder of a kernel with one tracer for all, as somebody
// has set it who does not use it now.
var atRest = map[string]string{
	"available_tracers":            "blk function_graph function nop\n",
	"current_tracer":               "nop\n",
	"tracing_on":                   "1\n",
	"trace":                        "",
	"trace_clock":                  "local global [mono] boot\n",
	"buffer_size_kb":               "7 (expanded: 1408)\n",
	"max_graph_depth":              "3\n",
	"set_event":                    "",
	"set_ftrace_filter":            "vfs_read\nraw_input [nlpeer]\n",
	"set_ftrace_notrace":           "#### no functions disabled ####\n",
	"set_ftrace_pid":               "no pid\n",
	"set_ftrace_notrace_pid":       "17\n",
	"set_graph_function":           "#### all functions enabled ####\n",
	"set_graph_notrace":            "#### no functions disabled ####\n",
	"options/context-info":         "1\n",
	"options/latency-format":       "0\n",
	"options/function-fork":        "0\n",
	"options/funcgraph-abstime":    "0\n",
	"options/funcgraph-cpu":        "1\n",
	"options/funcgraph-duration":   "1\n",
	"options/funcgraph-irqs":       "0\n",
	"options/funcgraph-proc":       "0\n",
	"options/funcgraph-tail":       "0\n",
	"options/funcgraph-overhead":   "1\n",
	"options/funcgraph-overrun":    "0\n",
	"options/sleep-time":           "1\n",
	"per_cpu/cpu0/stats":           "entries: 0\noverrun: 3\ndropped events: 1\n",
	"per_cpu/cpu1/stats":           "entries: 0\noverrun: 4\ndropped events: 0\n",
	"instances/of-somebody/README": "",
}

// folder makes a tracing folder that has files.
func folder(t *testing.T, files map[string]string) (root string) {
	t.Helper()
	root = t.TempDir()
	for name, text := range files {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// content reads a tracing folder, spaces trimmed.
func content(t *testing.T, root string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(file)
		all[strings.TrimPrefix(file, root+"/")] = strings.TrimSpace(string(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// restored is what is in a folder of files after a Tracer had it: what the kernel
// would show in another way is as it was written.
func restored(files map[string]string) map[string]string {
	all := map[string]string{}
	for name, text := range files {
		all[name] = strings.TrimSpace(text)
	}
	for name, text := range map[string]string{
		"trace_clock":        "mono",
		"buffer_size_kb":     "1408",
		"set_ftrace_filter":  "vfs_read\nraw_input:mod:nlpeer",
		"set_ftrace_pid":     "",
		"set_ftrace_notrace": all["set_ftrace_notrace"],
	} {
		if _, ok := all[name]; ok {
			all[name] = text
		}
	}
	return all
}

func TestTracer(t *testing.T) {
	for _, on := range []string{"0", "1"} {
		t.Run("tracing_on="+on, func(t *testing.T) {
			files := maps.Clone(atRest)
			files["tracing_on"] = on + "\n"
			testTracer(t, files)
		})
	}
}

func testTracer(t *testing.T, atRest map[string]string) {
	root := folder(t, atRest)
	tracer, err := ftrace.OpenIn(root, ftrace.Config{Functions: []string{"*netlink*", "!nla_*"}, Needed: []string{":mod:dummy"}, Buffer: 8192})
	if err != nil {
		t.Fatal(err)
	}
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	got := content(t, root)
	ids := got["set_ftrace_pid"]
	delete(got, "set_ftrace_pid")
	for _, task := range tasks {
		if !strings.Contains("\n"+ids+"\n", "\n"+task.Name()+"\n") {
			t.Errorf("task %s is not in %q", task.Name(), ids)
		}
	}
	want := map[string]string{}
	for name, text := range atRest {
		want[name] = strings.TrimSpace(text)
	}
	for name, text := range map[string]string{
		"current_tracer":             "function_graph",
		"tracing_on":                 "0",
		"trace_clock":                "boot",
		"buffer_size_kb":             "8192",
		"max_graph_depth":            "0",
		"set_ftrace_filter":          "*netlink*\n!nla_*\n:mod:dummy",
		"set_ftrace_notrace_pid":     "",
		"options/latency-format":     "1",
		"options/function-fork":      "1",
		"options/funcgraph-abstime":  "1",
		"options/funcgraph-irqs":     "1",
		"options/funcgraph-proc":     "1",
		"options/funcgraph-tail":     "1",
		"options/funcgraph-overhead": "0",
	} {
		want[name] = text
	}
	delete(want, "set_ftrace_pid")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("while it is open (-want +got):\n%s", diff)
	}

	if err := tracer.Start(); err != nil {
		t.Fatal(err)
	}
	if got := content(t, root)["tracing_on"]; got != "1" {
		t.Errorf("tracing_on=%s after Start", got)
	}
	if lost, err := tracer.Lost(); lost != 8 || err != nil {
		t.Errorf("%d lost, %v", lost, err)
	}
	if err := tracer.Close(); err != nil { // without Stop, as after an error
		t.Fatal(err)
	}
	if diff := cmp.Diff(restored(atRest), content(t, root)); diff != "" {
		t.Errorf("after Close (-want +got):\n%s", diff)
	}
	if err := tracer.Close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
}

// Whichever file is missing, what was changed before is changed back.
func TestTracerFails(t *testing.T) {
	optional := map[string]bool{
		"instances/of-somebody/README": true, "options/funcgraph-overhead": true, "options/funcgraph-overrun": true,
		"per_cpu/cpu0/stats": true, "per_cpu/cpu1/stats": true, "set_event": true, "set_ftrace_notrace": true,
		"set_ftrace_notrace_pid": true, "set_graph_function": true, "set_graph_notrace": true,
		"trace":             true, // Truncated, which makes them here.
		"set_ftrace_filter": true, "set_ftrace_pid": true,
	}
	for name := range atRest {
		if optional[name] {
			continue
		}
		t.Run(name, func(t *testing.T) {
			files := maps.Clone(atRest)
			delete(files, name)
			root := folder(t, files)
			before := content(t, root)
			if _, err := ftrace.OpenIn(root, ftrace.Config{Buffer: 8192}); err == nil {
				t.Fatal("no error")
			}
			want, got := restored(files), content(t, root)
			for file := range got { // what was not reached yet
				if got[file] == before[file] {
					want[file] = got[file]
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if _, err := os.Stat(filepath.Join(root, "instances", "nlctl-"+strconv.Itoa(os.Getpid()))); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the instance: %v", err)
			}
		})
	}
}

// The one tracer that there is is not taken from anybody.
func TestTracerBusy(t *testing.T) {
	for _, tt := range []struct{ file, text, want string }{
		{"available_tracers", "function nop\n", "no function graph tracer"},
		{"current_tracer", "function\n", "current_tracer=function"},
		{"set_event", "netlink:netlink_extack\n", "events on, such as netlink:netlink_extack"},
		{"set_ftrace_filter", "vfs_read:traceoff:unlimited\n", "vfs_read:traceoff:unlimited"},
		{"per_cpu/cpu1/stats", "entries: 2\n", "2 records"},
		{"instances/nlctl-1/README", "", "nlctl (process 1)"},
		{"buffer_size_kb", "X\n", "differ in size"},
	} {
		files := maps.Clone(atRest)
		files[tt.file] = tt.text
		root := folder(t, files)
		before := content(t, root)
		_, err := ftrace.OpenIn(root, ftrace.Config{Buffer: 8192})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.file, err)
		}
		if after := content(t, root); tt.file != "buffer_size_kb" && !cmp.Equal(before, after) {
			t.Errorf("%s: %s", tt.file, cmp.Diff(before, after))
		}
	}
	// Who was killed does not have it any more.
	files := maps.Clone(atRest)
	files["instances/nlctl-999999999/README"] = ""
	tracer, err := ftrace.OpenIn(folder(t, files), ftrace.Config{AllTasks: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := tracer.Close(); err != nil {
		t.Error(err)
	}
}
