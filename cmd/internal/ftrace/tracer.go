// SPDX-License-Identifier: MIT

package ftrace

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const tracerName = "function_graph"

// A Config says what is traced.
type Config struct {
	// Functions are patterns as in set_ftrace_filter: *netlink*, :mod:nlpeer, and
	// !nla_put, which takes away what those before it match. One that matches
	// nothing is passed over.
	Functions []string
	// Needed are more of them, each of which must match something.
	Needed []string
	// AllTasks traces every task of the machine. Otherwise it is those that this
	// process makes, and all that they make.
	AllTasks bool
	// Buffer is the size of the buffer of each processor in KiB, 0 for the kernel's
	// own choice.
	Buffer int
}

// A Tracer holds the kernel's function graph tracer.
type Tracer struct {
	root     string // of tracing
	settings settings
	common   settings // those that no instance has of its own
	started  bool
	done     []func() error // what comes after the settings are restored, the last first
}

// Open takes the tracer: one of our own where the kernel has one for each
// instance, else the one that all share, if it is not in use. It needs root;
// errors.Is(err, os.ErrPermission) tells if that was missing. Nothing is recorded
// before Start.
//
// However the process ends, but for SIGKILL, Close must have been called: the
// kernel keeps what was set.
func Open(cfg Config) (*Tracer, error) {
	root, unmount, err := find()
	if err != nil {
		return nil, err
	}
	return open(root, unmount, cfg)
}

func open(root string, unmount func() error, cfg Config) (t *Tracer, err error) {
	t = &Tracer{root: root, common: settings{dir: root}, done: []func() error{unmount}}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Close())
			t = nil
		}
	}()
	if ok, err := graphs(root); err != nil {
		return t, err
	} else if !ok {
		return t, errors.New("this kernel has no function graph tracer (CONFIG_FUNCTION_GRAPH_TRACER)")
	}
	own, err := instance(root)
	if err != nil {
		return t, err
	}
	t.done = append(t.done, func() error { return os.Remove(own) })
	ok, err := graphs(own)
	if err != nil {
		return t, err
	}
	t.settings.dir = own
	if !ok {
		if err := rivals(root); err != nil {
			return t, err
		}
		t.settings.dir = root
	}
	return t, t.configure(cfg)
}

// options that make the text what Parse reads.
var options = []struct {
	name string
	on   bool
}{
	{"context-info", true},
	{"latency-format", true}, // shows the context
	{"function-fork", true},
	{"funcgraph-abstime", true},
	{"funcgraph-cpu", true},
	{"funcgraph-duration", true},
	{"funcgraph-irqs", true},
	{"funcgraph-proc", true},
	{"funcgraph-tail", true},
	{"funcgraph-overhead", false},
	{"funcgraph-overrun", false},
	{"funcgraph-retval", false},
	{"funcgraph-retaddr", false},
	{"funcgraph-args", false},
	{"sleep-time", true},
}

func (t *Tracer) configure(cfg Config) error {
	s := &t.settings
	if err := s.set("tracing_on", "0"); err != nil {
		return err
	}
	// What is recorded is ours, and goes when the tracer has stopped.
	s.later("trace", "\n")
	for _, o := range options {
		if err := s.option(o.name, o.on); err != nil {
			return fmt.Errorf("tracing option %s: %w", o.name, err)
		}
	}
	if err := s.set("trace_clock", "boot"); err != nil {
		return err
	}
	if cfg.Buffer != 0 {
		if err := t.setBuffer(cfg.Buffer); err != nil {
			return err
		}
	}
	for _, name := range []string{"set_ftrace_notrace", "set_ftrace_notrace_pid"} {
		if err := s.clear(name); err != nil {
			return err
		}
	}
	if err := t.clearCommon(); err != nil {
		return err
	}
	if err := t.setFilter(cfg); err != nil {
		return err
	}
	if err := t.setTasks(cfg.AllTasks); err != nil {
		return err
	}
	return s.set("current_tracer", tracerName)
}

// clearCommon takes away what would limit every graph tracer, ours too, unless
// somebody has one running.
func (t *Tracer) clearCommon() error {
	tracer, err := t.common.value("current_tracer")
	if err != nil {
		return err
	}
	depth, err := t.common.value("max_graph_depth")
	if err != nil {
		return err
	}
	limited := depth != "0"
	lists := []string{"set_graph_function", "set_graph_notrace"}
	for _, name := range lists {
		items, err := t.common.list(name)
		if err != nil {
			return err
		}
		limited = limited || len(items) > 0
	}
	if limited && tracer == tracerName {
		return fmt.Errorf("the kernel's tracer is busy: %s has it limited by set_graph_function, set_graph_notrace or max_graph_depth in %s", who(t.root), t.root)
	}
	for _, name := range lists {
		if err := t.common.clear(name); err != nil {
			return err
		}
	}
	return t.common.set("max_graph_depth", "0")
}

func (t *Tracer) setBuffer(kib int) error {
	const name = "buffer_size_kb"
	old, err := t.settings.value(name)
	if err != nil {
		return err
	}
	// "7 (expanded: 1408)" becomes 1408 with the first use, and stays it.
	old = strings.TrimSuffix(old[strings.LastIndexByte(old, ' ')+1:], ")")
	if old == "X" {
		return errors.New("the tracing buffers of the processors differ in size; trace without --buffer")
	}
	t.settings.later(name, old)
	return t.settings.write(name, strconv.Itoa(kib))
}

func (t *Tracer) setFilter(cfg Config) error {
	const name = "set_ftrace_filter"
	if err := t.settings.fill(name); err != nil {
		return err
	}
	// One pattern after the other, as a kernel of another version or
	// configuration does not have them all.
	needed := map[string]bool{}
	for _, pattern := range cfg.Needed {
		needed[pattern] = true
	}
	return t.settings.each(name, os.O_TRUNC, append(cfg.Functions[:len(cfg.Functions):len(cfg.Functions)], cfg.Needed...),
		func(pattern string, err error) error {
			switch {
			case !errors.Is(err, syscall.EINVAL):
				return err
			case needed[pattern]:
				return fmt.Errorf("no function of this kernel that can be traced matches %q", pattern)
			}
			return nil
		})
}

// setTasks makes the tasks of this process be traced, which pass it on to those
// that they make. They do nothing of interest themselves.
func (t *Tracer) setTasks(all bool) error {
	const name = "set_ftrace_pid"
	if all {
		return t.settings.clear(name)
	}
	if err := t.settings.fill(name); err != nil {
		return err
	}
	// A task that was not yet known may have made another meanwhile.
	known := map[string]bool{}
	for {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return err
		}
		var fresh []string
		for _, task := range tasks {
			if id := task.Name(); !known[id] {
				known[id] = true
				fresh = append(fresh, id)
			}
		}
		if len(fresh) == 0 {
			return nil
		}
		if err := t.settings.each(name, os.O_APPEND, fresh, func(string, error) error { return nil }); err != nil {
			return err
		}
	}
}

// Start begins to record.
func (t *Tracer) Start() error {
	t.started = true
	return t.settings.write("tracing_on", "1")
}

// Stop ends it. What was recorded is there until Close.
func (t *Tracer) Stop() error {
	t.started = false
	return t.settings.write("tracing_on", "0")
}

// Text opens what was recorded, in the kernel's words.
func (t *Tracer) Text() (io.ReadCloser, error) {
	return os.Open(filepath.Join(t.settings.dir, "trace"))
}

// Trees returns what was recorded, and the number of lines of the text that it
// did not understand.
func (t *Tracer) Trees() (trees []*Tree, strange int, err error) {
	text, err := t.Text()
	if err != nil {
		return nil, 0, err
	}
	defer text.Close()
	trees, strange, err = Parse(text)
	if err != nil {
		return nil, 0, err
	}
	// The text has 7 bytes of a task's name.
	names, err := os.ReadFile(filepath.Join(t.root, "saved_cmdlines"))
	if err != nil {
		return nil, 0, err
	}
	full := map[int]string{}
	for name := range strings.Lines(string(names)) {
		if id, name, ok := strings.Cut(strings.TrimSuffix(name, "\n"), " "); ok {
			full[number(id)] = name
		}
	}
	for _, tree := range trees {
		if name := full[tree.PID]; strings.HasPrefix(name, tree.Task) {
			tree.Task = name
		}
	}
	return trees, strange, nil
}

// Lost returns how many records did not fit into the buffer. The oldest go first.
func (t *Tracer) Lost() (uint64, error) {
	overrun, err := t.settings.sum("overrun")
	if err != nil {
		return 0, err
	}
	dropped, err := t.settings.sum("dropped events")
	return overrun + dropped, err
}

// Close gives the tracer back as it was found. It does all it can and returns
// what it could not.
func (t *Tracer) Close() error {
	var err error
	if t.started {
		err = t.Stop()
	}
	err = errors.Join(err, t.settings.restore(), t.common.restore())
	for i := len(t.done) - 1; i >= 0; i-- {
		err = errors.Join(err, t.done[i]())
	}
	t.done = nil
	if err != nil {
		return fmt.Errorf("restoring the settings of %s: %w", t.root, err)
	}
	return nil
}
