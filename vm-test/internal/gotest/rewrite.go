// SPDX-License-Identifier: MIT

// Package gotest translates the arguments that go test gives to a test binary,
// so that the binary can run in a guest and its files still arrive on the host.
package gotest

import (
	"fmt"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Plan is how to run a test binary in the guest.
type Plan struct {
	Args    []string          // for the binary, with guest paths
	Dirs    []string          // guest folders that must exist before
	Back    map[string]string // guest file or folder -> host path
	Timeout time.Duration     // that the binary was given; 0 for none
}

// profiles are the flags of package testing that name a file to write.
var profiles = map[string]bool{
	"coverprofile": true, "cpuprofile": true, "memprofile": true,
	"blockprofile": true, "mutexprofile": true, "trace": true,
}

// defaultTimeout is what package testing takes when it is told nothing: none.
// go test always tells it, ten minutes if its user does not.
const defaultTimeout = 0

// Rewrite plans a run of a test binary with these arguments. dir is the host's
// current folder, out a guest folder that belongs to this run.
func Rewrite(args []string, dir, out string) (Plan, error) {
	p := Plan{Back: make(map[string]string), Timeout: defaultTimeout}
	type file struct{ guest, host string }
	var files []file
	outputDir := dir // package testing puts relative names below it
	fuzzing := false

	for i := 0; i < len(args); i++ {
		name, value, inline, ok := split(args[i])
		if args[i] == "--" || args[i] == "-" || (!ok && !strings.HasPrefix(args[i], "-")) {
			// The flags end here; the rest is the test's own business.
			p.Args = append(p.Args, args[i:]...)
			break
		}
		if !ok {
			p.Args = append(p.Args, args[i])
			continue
		}
		takesValue := profiles[name] || name == "outputdir" || name == "gocoverdir" ||
			name == "testlogfile" || name == "timeout" || name == "fuzz" || name == "fuzzcachedir"
		if !takesValue {
			p.Args = append(p.Args, args[i])
			continue
		}
		if !inline {
			if i+1 == len(args) {
				return Plan{}, fmt.Errorf("flag -test.%s needs a value", name)
			}
			i++
			value = args[i]
		}
		switch {
		case name == "timeout":
			d, err := time.ParseDuration(value)
			if err != nil {
				return Plan{}, fmt.Errorf("flag -test.timeout: %w", err)
			}
			p.Timeout = d
		case value == "":
		case profiles[name]:
			// Numbered, because two may have the same last element.
			guest := path.Join(out, strconv.Itoa(len(files))+"-"+filepath.Base(value))
			files = append(files, file{guest, value})
			value = guest
		case name == "outputdir":
			outputDir = resolve(dir, value)
			value = out
		case name == "gocoverdir":
			guest := path.Join(out, "gocoverdir")
			p.Dirs = append(p.Dirs, guest)
			p.Back[guest] = resolve(dir, value)
			value = guest
		case name == "testlogfile":
			// A log of what the test read, for go test's cache. In the guest
			// it must be writable; on the host it would be about other files.
			value = path.Join(out, "testlog")
		case name == "fuzzcachedir":
			value = path.Join(out, "fuzz")
		case name == "fuzz":
			fuzzing = true
		}
		p.Args = append(p.Args, "-test."+name+"="+value)
	}
	for _, f := range files {
		p.Back[f.guest] = resolve(outputDir, f.host)
	}
	p.Dirs = append(p.Dirs, out)
	if fuzzing {
		// An input that fails is written next to the test.
		p.Back["testdata/fuzz"] = filepath.Join(dir, "testdata", "fuzz")
	}
	return p, nil
}

// split takes "-test.name=value" apart; -- in front is the same.
func split(arg string) (name, value string, inline, ok bool) {
	rest, ok := strings.CutPrefix(strings.TrimPrefix(arg, "-"), "-test.")
	if !ok {
		rest, ok = strings.CutPrefix(arg, "-test.")
	}
	if !ok {
		return "", "", false, false
	}
	name, value, inline = strings.Cut(rest, "=")
	return name, value, inline, true
}

func resolve(dir, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(dir, name)
}

// HostPath says where a file that came back belongs on the host, "" if it was
// not asked for. name is the guest's path without the leading slash; base is
// the guest's folder that relative paths of Back are relative to.
func (p Plan) HostPath(name, base string) string {
	guest := "/" + strings.TrimSuffix(name, "/")
	for from, to := range p.Back {
		if !path.IsAbs(from) {
			from = path.Join(base, from)
		}
		if guest == from {
			return to
		}
		// Nothing the guest names may lead out of the folder it was given.
		if rel, ok := strings.CutPrefix(guest, from+"/"); ok && filepath.IsLocal(rel) {
			return filepath.Join(to, rel)
		}
	}
	return ""
}
