// SPDX-License-Identifier: MIT

// Package kmod reads kernel modules of an unpacked kernel package. Such a
// package has no modules.dep, because that is written at installation, so the
// order to load modules in comes from the modules themselves.
package kmod

import (
	"bytes"
	"debug/elf"
	"fmt"
	"strings"
)

// Info is what a module says about itself.
type Info struct {
	Name    string
	Depends []string // names of modules that must be loaded first
	Magic   string   // the kernel it was built for: "6.1.0-56-amd64 SMP …"
	Fields  map[string][]string
}

// Parse reads the .modinfo section of a module's ELF image.
func Parse(image []byte) (Info, error) {
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return Info{}, fmt.Errorf("not a kernel module: %w", err)
	}
	s := f.Section(".modinfo")
	if s == nil {
		return Info{}, fmt.Errorf("not a kernel module: no section .modinfo")
	}
	data, err := s.Data()
	if err != nil {
		return Info{}, fmt.Errorf("not a kernel module: section .modinfo: %w", err)
	}
	return parseFields(data), nil
}

// parseFields reads "key=value" strings that end in a zero byte each.
func parseFields(data []byte) Info {
	info := Info{Fields: make(map[string][]string)}
	for field := range bytes.SplitSeq(data, []byte{0}) {
		key, value, ok := strings.Cut(string(field), "=")
		if !ok {
			continue
		}
		info.Fields[key] = append(info.Fields[key], value)
		switch key {
		case "name":
			info.Name = value
		case "vermagic":
			info.Magic = value
		case "depends":
			for d := range strings.SplitSeq(value, ",") {
				if d != "" {
					info.Depends = append(info.Depends, Normalize(d))
				}
			}
		}
	}
	return info
}

// Normalize gives the one spelling of a module's name that the kernel uses:
// file names may have dashes where the name has underscores.
func Normalize(name string) string {
	return strings.ReplaceAll(name, "-", "_")
}
