// SPDX-License-Identifier: MIT

package ftrace

// OpenIn is Open where tracing is in a folder.
func OpenIn(root string, cfg Config) (*Tracer, error) {
	return open(root, func() error { return nil }, cfg)
}
