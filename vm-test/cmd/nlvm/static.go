// SPDX-License-Identifier: MIT

package main

import (
	"debug/elf"
	"fmt"
)

// checkStatic refuses a program that needs a dynamic linker: the guest has
// none, and would only say "not found".
func checkStatic(file string) error {
	f, err := elf.Open(file)
	if err != nil {
		return nil // a script, say; the guest will see
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is linked dynamically, and the guest has no libraries; build it with CGO_ENABLED=0", file)
		}
	}
	return nil
}
