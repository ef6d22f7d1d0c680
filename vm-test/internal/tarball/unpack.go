// SPDX-License-Identifier: MIT

package tarball

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Unpack reads a tar stream to its end. place says where an entry goes, by
// its name in the archive; "" skips it. A file that exists is replaced.
//
// The caller's place is what keeps an archive from writing where it must not.
func Unpack(r io.Reader, place func(name string) string) error {
	tr := tar.NewReader(r)
	// Folders get their modes last, deepest first, or a folder without the
	// write bit could not be filled by anyone but root.
	var folders []*tar.Header
	var paths []string
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		target := place(h.Name)
		if target == "" {
			continue
		}
		if h.Typeflag == tar.TypeDir {
			if err := os.MkdirAll(target, 0o755); err != nil {
				return err
			}
			folders, paths = append(folders, h), append(paths, target)
			continue
		}
		if err := unpackFile(tr, h, target); err != nil {
			return err
		}
	}
	for i := len(folders) - 1; i >= 0; i-- {
		if err := os.Chmod(paths[i], mode(folders[i])); err != nil {
			return err
		}
	}
	// The sender's stream is padded beyond the last entry; whoever produces
	// it blocks until somebody has taken that too.
	_, err := io.Copy(io.Discard, r)
	return err
}

func unpackFile(tr *tar.Reader, h *tar.Header, target string) error {
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	// Remove first: writing through an old symlink, or into a program that is
	// being executed, is never what was meant.
	if err := os.Remove(target); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	switch h.Typeflag {
	case tar.TypeSymlink:
		return os.Symlink(h.Linkname, target)
	case tar.TypeReg:
	default:
		return fmt.Errorf("%s: %w", h.Name, ErrKind)
	}
	f, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, tr)
	if err == nil {
		err = f.Chmod(mode(h))
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Chtimes(target, h.ModTime, h.ModTime)
	}
	return err
}

func mode(h *tar.Header) fs.FileMode {
	m := fs.FileMode(h.Mode).Perm()
	if h.Mode&0o4000 != 0 {
		m |= fs.ModeSetuid
	}
	if h.Mode&0o2000 != 0 {
		m |= fs.ModeSetgid
	}
	if h.Mode&0o1000 != 0 {
		m |= fs.ModeSticky
	}
	return m
}
