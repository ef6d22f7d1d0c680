// SPDX-License-Identifier: MIT

package machine

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
)

// Places is how many virtual machines may run at once: one a processor,
// because an emulated guest keeps one busy. NLVM_MAX_VMS overrides it.
func Places() (int, error) {
	s := os.Getenv("NLVM_MAX_VMS")
	if s == "" {
		return runtime.NumCPU(), nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("NLVM_MAX_VMS=%s is not a positive number", s)
	}
	return n, nil
}
