// SPDX-License-Identifier: MIT

// Command nlgen renders the wire contract for Go and for people: it reads the
// two netlink specifications of nlpeer, checks them, and writes the constants
// of package wire, docs/protocol.md, the tables by which messages are decoded
// for people and made by the fuzzer, and descriptions for syzkaller. C for the
// generic netlink family comes from the kernel's own generator; that generator
// has no policies for raw protocols and numbers their messages without heed of
// gaps, so the C side of the raw one is made here. tools/generate runs both.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// The files that nlgen reads, below the folder of the specifications, and
// those that it writes, below the output folder.
const (
	genlFile = "nlpeer.yaml"
	rawFile  = "netlink_test.yaml"
	textFile = "semantics.md" // what the language of the two has no words for

	goFile     = "pkg/wire/spec_gen.go"
	docFile    = "docs/protocol.md"
	headerFile = "include/uapi/linux/netlink_test.h"
	policyFile = "kmod/raw_gen.h"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: nlgen SPECDIR OUTDIR")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(specDir, outDir string) error {
	files, err := generate(specDir)
	if err != nil {
		return err
	}
	for name, data := range files {
		path := filepath.Join(outDir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// generate returns the content of each output file by its name.
func generate(specDir string) (map[string][]byte, error) {
	genl, genlErr := readSpec(filepath.Join(specDir, genlFile))
	raw, rawErr := readSpec(filepath.Join(specDir, rawFile))
	if err := errors.Join(genlErr, rawErr); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(specDir, textFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if err := check(genl, raw); err != nil {
		return nil, err
	}
	code, err := renderGo(genl, raw)
	if err != nil {
		return nil, err
	}
	tables, err := renderExplain(genl, raw)
	if err != nil {
		return nil, err
	}
	fuzz, err := renderFuzz(genl, raw)
	if err != nil {
		return nil, err
	}
	return map[string][]byte{
		goFile:      code,
		docFile:     renderDoc(genl, raw, string(text)),
		headerFile:  renderHeader(raw),
		policyFile:  renderPolicies(genl, raw),
		explainFile: tables,
		luaFile:     renderLua(genl, raw),
		fuzzFile:    fuzz,
		syzGenlFile: renderSyzGenl(genl),
		syzRawFile:  renderSyzRaw(genl, raw),
	}, nil
}
