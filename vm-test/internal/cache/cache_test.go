// SPDX-License-Identifier: MIT

package cache_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"nlpeer/vm-test/internal/cache"
)

func open(t *testing.T, dir string) *cache.Cache {
	t.Helper()
	c, err := cache.OpenAt(dir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func tempDir(t *testing.T, c *cache.Cache) string {
	t.Helper()
	dir, err := c.TempDir("x")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return !errors.Is(err, fs.ErrNotExist)
}

func TestTempDirLivesAsLongAsItsOwner(t *testing.T) {
	root := t.TempDir()
	a := open(t, root)
	dir := tempDir(t, a)
	b := open(t, root) // sweeps
	if !exists(dir) {
		t.Fatal("another process took away a folder that is in use")
	}
	if other := tempDir(t, b); other == dir {
		t.Error("two processes have the same folder")
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if exists(dir) {
		t.Error("the folder is still there after Close")
	}
}

// They make this test binary play a process that is killed.
const (
	helperEnv = "NLVM_CACHE_TEST_DIR"
	waiterEnv = "NLVM_CACHE_TEST_WAIT"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(waiterEnv); dir != "" {
		waitForever(dir)
	}
	if dir := os.Getenv(helperEnv); dir != "" {
		c, err := cache.OpenAt(dir)
		if err != nil {
			panic(err)
		}
		temp, err := c.TempDir("orphan")
		if err != nil {
			panic(err)
		}
		if _, err := c.Lock(context.Background(), "held", nil); err != nil {
			panic(err)
		}
		os.Stdout.WriteString(temp)
		os.Exit(9) // without Close
	}
	os.Exit(m.Run())
}

func TestDeadOwnersAreSweptAndUnlocked(t *testing.T) {
	root := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperEnv+"="+root)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 9 || !exists(string(out)) {
		t.Fatalf("helper: %v, folder %q", err, out)
	}
	c := open(t, root)
	if exists(string(out)) {
		t.Error("a dead process's folder is still there")
	}
	if _, err := c.Lock(t.Context(), "held", nil); err != nil {
		t.Errorf("a dead process's lock: %v", err)
	}
}

func TestCommitKeepsTheFirst(t *testing.T) {
	c := open(t, t.TempDir())
	final := c.Path("kernels", "6.1")
	for _, content := range []string{"first", "second"} {
		dir := tempDir(t, c)
		if err := os.WriteFile(filepath.Join(dir, "stamp"), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := cache.Commit(dir, final); err != nil {
			t.Fatalf("%s: %v", content, err)
		}
		if exists(dir) {
			t.Errorf("%s: the temporary folder is still there", content)
		}
	}
	if b, err := os.ReadFile(filepath.Join(final, "stamp")); err != nil || string(b) != "first" {
		t.Errorf("%q, %v; want the first one's", b, err)
	}
}

func TestLockExcludes(t *testing.T) {
	root := t.TempDir()
	a, b := open(t, root), open(t, root)
	l, err := a.Lock(t.Context(), "x", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cache.TryLock(b.Path("locks", "x"), true); !errors.Is(err, cache.ErrLocked) {
		t.Errorf("a held lock: %v, want ErrLocked", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Lock(ctx, "x", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting with a cancelled context: %v", err)
	}
	got := make(chan error)
	go func() {
		_, err := b.Lock(t.Context(), "x", nil)
		got <- err
	}()
	l.Unlock()
	if err := <-got; err != nil {
		t.Errorf("after Unlock: %v", err)
	}
}

func TestUseAlone(t *testing.T) {
	c := open(t, t.TempDir())
	a, err := c.Use()
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.Use()
	if err != nil {
		t.Fatalf("a second user: %v", err)
	}
	a.Unlock()
	if _, err := c.UseAlone(); !errors.Is(err, cache.ErrLocked) {
		t.Errorf("alone with a user left: %v, want ErrLocked", err)
	}
	b.Unlock()
	if _, err := c.UseAlone(); err != nil {
		t.Errorf("alone: %v", err)
	}
}
