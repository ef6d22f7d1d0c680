// SPDX-License-Identifier: MIT

package artifacts

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"nlpeer/vm-test/internal/kernel"
)

// waitingApt says that it has begun, and waits for ever.
const waitingApt = `#!/bin/sh
here=$(dirname "$0")
exec 3<>"$here/never"
echo begun >"$here/begun"
read -r never <&3
`

// A download that is interrupted ends with all it has started, and leaves nothing; nor
// does it leave what one before it did that was killed.
func TestYNLInterrupted(t *testing.T) {
	source, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, how := range []string{"hangup", "interrupt", "terminated", "cancelled"} {
		t.Run(how, func(t *testing.T) {
			bin, home := t.TempDir(), t.TempDir()
			for name, text := range map[string]string{"apt-get": waitingApt, "dpkg-deb": "#!/bin/sh\n", "xz": "#!/bin/sh\n"} {
				if err := os.WriteFile(filepath.Join(bin, name), []byte(text), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
			t.Setenv("XDG_CACHE_HOME", home)
			put(t, home, "nlpeer/linux-source/.tmp.killed/log", "")
			begun, never := fifo(t, filepath.Join(bin, "begun")), filepath.Join(bin, "never")
			fifo(t, never).Close()

			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			cmd := exec.Command(filepath.Join(source, "tools/ynl"))
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			ended := make(chan error, 1)
			if how == "cancelled" {
				go func() {
					_, err := buildYNL(ctx, nil, source, kernel.Userland{}, nil)
					ended <- err
				}()
			} else {
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				go func() { ended <- cmd.Wait() }()
			}
			if err := begun.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
			if _, err := begun.Read(make([]byte, 10)); err != nil {
				t.Fatalf("it has not begun: %v", err)
			}
			var want int
			for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM} {
				if s.String() == how {
					want = 128 + int(s)
					if err := syscall.Kill(-cmd.Process.Pid, s); err != nil {
						t.Fatal(err)
					}
				}
			}
			cancel()
			if err := <-ended; err == nil {
				t.Error("no error")
			} else if want != 0 && cmd.ProcessState.ExitCode() != want {
				t.Errorf("%v, want status %d", err, want)
			}
			if left, err := filepath.Glob(filepath.Join(home, "nlpeer/linux-source/.tmp.*")); err != nil || len(left) > 0 {
				t.Errorf("left is %s, %v", left, err)
			}
			// Nobody is there to read.
			f, err := os.OpenFile(never, os.O_WRONLY|syscall.O_NONBLOCK, 0)
			if !errors.Is(err, syscall.ENXIO) {
				t.Errorf("apt-get goes on: %v", err)
				_, _ = f.WriteString("and now it ends\n")
				f.Close()
			}
		})
	}
}

func fifo(t *testing.T, name string) *os.File {
	t.Helper()
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(name, os.O_RDWR|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}
