// SPDX-License-Identifier: MIT

// Package cache keeps what nlvm downloads, builds and saves, under
// ${XDG_CACHE_HOME:-~/.cache}/nlpeer, so that any number of nlvm processes can
// use it at once:
//
//   - nothing is visible under its final name before it is complete: it is made
//     in a temporary folder on the same file system and renamed;
//   - whoever makes something holds a lock meanwhile, and the others wait;
//   - a process that is killed leaves a temporary folder without an owner, and
//     the next process takes it away.
package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// Cache is an opened cache.
type Cache struct {
	dir string

	mu   sync.Mutex
	temp string   // this process's own folder, "" until it is needed
	own  *os.File // locks temp
}

// Open opens the user's cache, and creates it if need be.
func Open() (*Cache, error) {
	base := os.Getenv("XDG_CACHE_HOME")
	if base == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil, fmt.Errorf("no place for a cache: %w; set XDG_CACHE_HOME", err)
		}
		base = filepath.Join(home, ".cache")
	}
	return OpenAt(filepath.Join(base, "nlpeer"))
}

// OpenAt opens the cache in dir.
func OpenAt(dir string) (*Cache, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	c := &Cache{dir: dir}
	for _, d := range []string{"locks", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, fmt.Errorf("cache: %w; set XDG_CACHE_HOME to a folder that can be written", err)
		}
	}
	c.sweep()
	return c, nil
}

// Path is the absolute path of a name in the cache.
func (c *Cache) Path(elem ...string) string {
	return filepath.Join(append([]string{c.dir}, elem...)...)
}

// Close removes what is left in this process's temporary folder.
func (c *Cache) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.own == nil {
		return nil
	}
	err := os.RemoveAll(c.temp)
	c.own.Close()
	c.own, c.temp = nil, ""
	return err
}

// TempDir makes an empty folder that no other process knows.
func (c *Cache) TempDir(pattern string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.own == nil {
		if err := c.claim(); err != nil {
			return "", err
		}
	}
	return os.MkdirTemp(c.temp, pattern+"-")
}

// claim makes this process's folder and locks it. The lock is taken before the
// folder gets the name that sweep looks for.
func (c *Cache) claim() error {
	dir, err := os.MkdirTemp(c.Path("tmp"), ".new-")
	if err != nil {
		return err
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return fmt.Errorf("cache: lock %s: %w", dir, err)
	}
	c.temp = c.Path("tmp", "p"+filepath.Base(dir)[len(".new-"):])
	if err := os.Rename(dir, c.temp); err != nil {
		f.Close()
		return err
	}
	c.own = f
	return nil
}

// sweep removes the temporary folders of processes that are gone.
func (c *Cache) sweep() {
	dirs, _ := filepath.Glob(c.Path("tmp", "p*"))
	for _, d := range dirs {
		f, err := os.Open(d)
		if err != nil {
			continue
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			_ = os.RemoveAll(d)
		}
		f.Close()
	}
}

// Commit moves something complete to its final place. If another process was
// first, its result stays and temp is removed.
func Commit(temp, final string) error {
	if err := os.MkdirAll(filepath.Dir(final), 0o755); err != nil {
		return err
	}
	err := os.Rename(temp, final)
	if err == nil {
		return nil
	}
	if errors.Is(err, fs.ErrExist) || errors.Is(err, unix.ENOTEMPTY) {
		return os.RemoveAll(temp)
	}
	return err
}
