// SPDX-License-Identifier: MIT

// Package tarball moves files between host and guest as a tar stream.
//
// Only what both sides need is supported: regular files, folders and symbolic
// links, with their permission bits and modification times. Owners are not
// kept: everything belongs to whoever unpacks.
package tarball

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// ErrKind is returned for a file that is none of regular, folder or symlink.
var ErrKind = errors.New("neither a file, a folder nor a symbolic link")

// Item is one file or folder and its place in the archive.
type Item struct {
	Source string // path here
	Name   string // path there
}

// Pack writes items to w as one tar stream. A symbolic link named as an item
// itself is followed; links below it are kept as links.
func Pack(w io.Writer, items []Item) error {
	tw := tar.NewWriter(w)
	for _, it := range items {
		source, err := filepath.EvalSymlinks(it.Source)
		if err != nil {
			return err
		}
		err = filepath.WalkDir(source, func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(source, p)
			if err != nil {
				return err
			}
			return add(tw, p, path.Join(it.Name, filepath.ToSlash(rel)))
		})
		if err != nil {
			return err
		}
	}
	return tw.Close()
}

func add(tw *tar.Writer, source, name string) error {
	// Lstat instead of the DirEntry's info: size and content must be of one
	// moment as nearly as possible, or the archive breaks on a growing file.
	info, err := os.Lstat(source)
	if err != nil {
		return err
	}
	h := &tar.Header{
		Name:    name,
		Mode:    int64(info.Mode().Perm()) | specialBits(info.Mode()),
		ModTime: info.ModTime(),
		Format:  tar.FormatPAX,
	}
	switch {
	case info.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, name+"/"
		return tw.WriteHeader(h)
	case info.Mode()&fs.ModeSymlink != 0:
		h.Typeflag = tar.TypeSymlink
		if h.Linkname, err = os.Readlink(source); err != nil {
			return err
		}
		return tw.WriteHeader(h)
	case info.Mode().IsRegular():
		h.Typeflag, h.Size = tar.TypeReg, info.Size()
	default:
		return fmt.Errorf("%s: %w", source, ErrKind)
	}

	f, err := os.Open(source)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	// A file that grows is cut at the size announced; one that shrinks is an error.
	if n, err := io.Copy(tw, io.LimitReader(f, h.Size)); err != nil {
		return fmt.Errorf("%s: %w", source, err)
	} else if n != h.Size {
		return fmt.Errorf("%s: became shorter while it was read", source)
	}
	return nil
}

// specialBits are set-user-ID, set-group-ID and sticky as tar knows them.
func specialBits(m fs.FileMode) int64 {
	var bits int64
	if m&fs.ModeSetuid != 0 {
		bits |= 0o4000
	}
	if m&fs.ModeSetgid != 0 {
		bits |= 0o2000
	}
	if m&fs.ModeSticky != 0 {
		bits |= 0o1000
	}
	return bits
}
