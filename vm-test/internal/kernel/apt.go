// SPDX-License-Identifier: MIT

package kernel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"nlpeer/vm-test/internal/cache"
)

const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// listsAge is how old package lists may be when something has to be downloaded.
const listsAge = 7 * 24 * time.Hour

// apt is Debian's package manager with a private state: own sources, own lists,
// an empty list of installed packages. It needs no privilege, and neither sees
// nor changes what the machine has installed.
type apt struct {
	suite, arch string
	dir         string // lists, downloads, sources
	progress    *Progress
}

// mirrors are where packages come from, the archive and its security updates.
func mirrors() (archive, security string) {
	if m := strings.TrimRight(os.Getenv("NLVM_MIRROR"), "/"); m != "" {
		return m + "/debian", m + "/debian-security"
	}
	return "http://deb.debian.org/debian", "http://deb.debian.org/debian-security"
}

func openApt(c *cache.Cache, suite, arch string, p *Progress) (*apt, error) {
	for _, tool := range []string{"apt-get", "apt-cache", "dpkg-deb"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("%s is not installed; nlvm takes kernels from Debian packages and needs a Debian-like system, or: apt install apt dpkg debian-archive-keyring", tool)
		}
	}
	if _, err := os.Stat(keyring); err != nil {
		return nil, errors.New("the signing keys of Debian's archive are not installed; try: sudo apt-get install debian-archive-keyring")
	}
	a := &apt{suite: suite, arch: arch, dir: c.Path("apt", suite+"-"+arch), progress: p}
	for _, d := range []string{"lists/partial", "archives/partial", "etc"} {
		if err := os.MkdirAll(filepath.Join(a.dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	archive, security := mirrors()
	options := "[arch=" + arch + " signed-by=" + keyring + "]"
	release, backports := strings.CutSuffix(suite, "-backports")
	sources := fmt.Sprintf("deb %[1]s %[2]s %[3]s main\ndeb %[1]s %[2]s %[3]s-updates main\n", options, archive, release)
	// For what is only emulated the release as it is will do: not all
	// architectures have security updates for as long as the others.
	if arch == HostArch() {
		sources += fmt.Sprintf("deb %s %s %s-security main\n", options, security, release)
	}
	if backports {
		sources += fmt.Sprintf("deb %s %s %s main\n", options, archive, suite)
	}
	// Hooks of the host's configuration are for the host's packages (images
	// for containers delete downloads in one); its proxy settings stay.
	conf := "#clear APT::Update::Pre-Invoke;\n#clear APT::Update::Post-Invoke;\n#clear APT::Update::Post-Invoke-Success;\n#clear DPkg::Post-Invoke;\n#clear Acquire::IndexTargets::deb::DEP-11;\n#clear Acquire::IndexTargets::deb::DEP-11-icons;\n#clear Acquire::IndexTargets::deb::DEP-11-icons-hidpi;\n#clear Acquire::IndexTargets::deb::Contents-deb;\n#clear APT::Architectures;\n"
	for name, content := range map[string]string{"etc/sources.list": sources, "etc/apt.conf": conf, "status": ""} {
		if err := os.WriteFile(filepath.Join(a.dir, name), []byte(content), 0o644); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// command prepares one of apt's programs.
func (a *apt) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	options := []string{
		"-c", filepath.Join(a.dir, "etc/apt.conf"),
		"-o", "Dir::State=" + a.dir,
		"-o", "Dir::State::lists=" + filepath.Join(a.dir, "lists"),
		"-o", "Dir::State::status=" + filepath.Join(a.dir, "status"),
		"-o", "Dir::Cache=" + a.dir,
		"-o", "Dir::Cache::archives=" + filepath.Join(a.dir, "archives"),
		"-o", "Dir::Etc::sourcelist=" + filepath.Join(a.dir, "etc/sources.list"),
		"-o", "Dir::Etc::sourceparts=/dev/null",
		"-o", "Dir::Etc::preferences=/dev/null",
		"-o", "Dir::Etc::preferencesparts=/dev/null",
		"-o", "APT::Architecture=" + a.arch,
		"-o", "APT::Architectures::=" + a.arch,
		"-o", "Acquire::Languages=none",
		"-o", "Acquire::Retries=3",
	}
	if strings.HasSuffix(a.suite, "-backports") {
		// They stand back otherwise, however new they are.
		options = append(options, "-o", "APT::Default-Release="+a.suite)
	}
	if os.Geteuid() == 0 {
		// The user _apt may not be able to enter root's cache folder.
		options = append(options, "-o", "APT::Sandbox::User=root")
	}
	cmd := exec.CommandContext(ctx, program, append(options, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	return cmd
}

// update fetches the package lists, unless they are young enough.
func (a *apt) update(ctx context.Context, force bool) (fresh bool, err error) {
	stamp := filepath.Join(a.dir, "updated")
	if st, err := os.Stat(stamp); !force && err == nil && time.Since(st.ModTime()) < listsAge {
		return false, nil
	}
	done := a.progress.Start("downloading Debian's package lists (%s, %s)", a.suite, a.arch)
	if err := a.run(a.command(ctx, "apt-get", "-q", "update", "-o", "APT::Update::Error-Mode=any")); err != nil {
		return false, err
	}
	done("")
	return true, os.WriteFile(stamp, nil, 0o644)
}

// run executes a download. A person at a terminal sees apt's own progress.
func (a *apt) run(cmd *exec.Cmd) error {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if t := a.progress.Terminal(); t != nil {
		cmd.Stdout = t
	}
	err := cmd.Run()
	if err == nil {
		return nil
	}
	archive, security := mirrors()
	return fmt.Errorf("cannot download from %s and %s: %s; check the network, the proxy settings of apt, the space on the disk (df -h %s), or set NLVM_MIRROR",
		archive, security, complaint(out.String(), err), a.dir)
}

// complaint picks the lines that matter out of apt's output.
func complaint(out string, err error) string {
	var lines []string
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "E: ") || strings.HasPrefix(line, "Err:") {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		return err.Error()
	}
	return strings.Join(lines, "; ")
}

// withLists calls try when there are package lists. Those that are a few days
// old may name a version that the archive has replaced since, so a failure is
// tried once more with fresh ones.
func (a *apt) withLists(ctx context.Context, try func() error) error {
	fresh, err := a.update(ctx, false)
	if err != nil {
		return err
	}
	err = try()
	if err == nil || fresh || ctx.Err() != nil {
		return err
	}
	if _, uerr := a.update(ctx, true); uerr != nil {
		return err
	}
	return try()
}

// closure returns the packages that the roots need, roots first.
func (a *apt) closure(ctx context.Context, want func(name string) bool, roots ...string) ([]pkg, error) {
	cmd := a.command(ctx, "apt-cache", "dumpavail")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("package lists for %s: %s", a.suite, complaint(stderr.String(), err))
	}
	found, err := readIndex(bytes.NewReader(out)).closure(want, roots...)
	if err != nil {
		return nil, fmt.Errorf("package lists of Debian %s: %w", a.suite, err)
	}
	return found, nil
}

// fetch downloads and unpacks packages into root. apt checks their hashes
// against the signed lists.
func (a *apt) fetch(ctx context.Context, what string, packages []pkg, download, root string) error {
	args := []string{"-q", "download"}
	for _, p := range packages {
		args = append(args, p.Name+"="+p.Version)
	}
	done := a.progress.Start("downloading %s", what)
	cmd := a.command(ctx, "apt-get", args...)
	cmd.Dir = download
	if err := a.run(cmd); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(download, "*.deb"))
	if err != nil {
		return err
	}
	var size int64
	for _, f := range files {
		if st, err := os.Stat(f); err == nil {
			size += st.Size()
		}
	}
	done(fmt.Sprintf("%d MB", size>>20))

	done = a.progress.Start("unpacking %s", what)
	for _, f := range files {
		if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", f, root).CombinedOutput(); err != nil {
			return fmt.Errorf("cannot unpack %s: %w: %s", filepath.Base(f), err, bytes.TrimSpace(out))
		}
		// One at a time, so that archive and contents need the space only once.
		if err := os.Remove(f); err != nil {
			return err
		}
	}
	done("")
	return nil
}
