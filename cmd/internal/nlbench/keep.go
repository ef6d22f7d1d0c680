// SPDX-License-Identifier: MIT

package nlbench

import (
	"encoding/json"
	"os"
	"path/filepath"

	"nlpeer/internal/bench"
)

// A keeper writes records to a file, which appears when all are in it.
type keeper struct {
	name  string
	file  *os.File // nil if nothing is kept
	whole bool     // the last record is in it
	err   error
}

func newKeeper(name string) (*keeper, error) {
	if name == "" {
		return &keeper{}, nil
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*")
	if err != nil {
		return nil, err
	}
	return &keeper{name: name, file: f}, nil
}

// put writes a record as a line.
func (k *keeper) put(rec bench.Record) {
	k.whole = rec.Type == bench.TypeEnd
	if k.file == nil || k.err != nil {
		return
	}
	line, err := json.Marshal(rec)
	if err != nil {
		panic(err) // a type of ours that cannot be encoded
	}
	_, k.err = k.file.Write(append(line, '\n'))
}

// close puts the file in its place, if it is whole.
func (k *keeper) close() error {
	if k.file == nil {
		return nil
	}
	if err := k.file.Close(); k.err == nil {
		k.err = err
	}
	if k.err != nil || !k.whole {
		os.Remove(k.file.Name())
		return k.err
	}
	if err := os.Chmod(k.file.Name(), 0o644); err != nil {
		return err
	}
	return os.Rename(k.file.Name(), k.name)
}
