// SPDX-License-Identifier: MIT

package student

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// Progress is what is remembered of a student, by the labs' numbers.
type Progress struct {
	Labs map[int]Lab `json:"labs"`
}

// Lab is what is remembered of one lab.
type Lab struct {
	Tries  int         `json:"tries"`            // runs that came to a verdict
	Points int         `json:"points"`           // of the last
	Best   int         `json:"best"`             // of all
	Of     int         `json:"of"`               // points there are
	Next   int         `json:"next,omitempty"`   // the TODO of the first step that failed
	Solved *time.Time  `json:"solved,omitempty"` // when all was passed for the first time
	Hints  map[int]int `json:"hints,omitempty"`  // how many were read, by TODO
	Looked bool        `json:"looked,omitempty"` // at the solution, before it was solved
}

// Progress reads what is remembered; of a new folder that is nothing.
func (r Root) Progress() (Progress, error) {
	p := Progress{Labs: map[int]Lab{}}
	text, err := os.ReadFile(r.state("progress.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return p, err
	}
	if err := json.Unmarshal(text, &p); err != nil {
		return p, fmt.Errorf("%s: %w; remove it to begin with nothing remembered", r.state("progress.json"), err)
	}
	if p.Labs == nil {
		p.Labs = map[int]Lab{}
	}
	return p, nil
}

func (p Progress) text() ([]byte, error) {
	text, err := json.MarshalIndent(p, "", "  ")
	return append(text, '\n'), err
}
