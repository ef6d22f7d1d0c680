// SPDX-License-Identifier: MIT

package execute

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Where the kernel tells what code a thread runs (Documentation/dev-tools/kcov.rst).
const (
	kcovFile      = "/sys/kernel/debug/kcov"
	kcovInitTrace = 0x80086301
	kcovEnable    = 0x6364
	kcovTracePC   = 0
	kcovSize      = 64 << 10 // places between two looks at what a thread did
)

// ErrNoKcov says that the kernel or the module was not built for it.
var ErrNoKcov = errors.New("no KCOV: that takes nlvm run --kernel debug")

// kcov records what one thread does in the kernel; it must be opened there.
type kcov struct {
	area []uint64
}

func openKcov() (*kcov, error) {
	fd, err := unix.Open(kcovFile, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrNoKcov, err)
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), kcovInitTrace, kcovSize); errno != 0 {
		return nil, fmt.Errorf("KCOV_INIT_TRACE: %w", errno)
	}
	b, err := unix.Mmap(fd, 0, kcovSize*8, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", kcovFile, err)
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), kcovEnable, kcovTracePC); errno != 0 {
		return nil, fmt.Errorf("KCOV_ENABLE: %w", errno)
	}
	return &kcov{unsafe.Slice((*uint64)(unsafe.Pointer(&b[0])), kcovSize)}, nil
}

// full says that a look would better be soon.
func (k *kcov) full() bool { return atomic.LoadUint64(&k.area[0]) > kcovSize/2 }

func (k *kcov) reset() { atomic.StoreUint64(&k.area[0], 0) }

func (k *kcov) pcs() []uint64 {
	n := atomic.LoadUint64(&k.area[0])
	return k.area[1 : 1+min(n, kcovSize-1)]
}

// Sites are the places of the module's code that report, but for what runs at
// loading and unloading only.
type Sites struct {
	names  []string // FUNCTION+OFFSET
	ranges []siteRange
}

type siteRange struct {
	start uint64
	index []int32 // by the distance from start; the number of a site plus 1, or 0
}

// FindSites reads the module's file and where its parts are.
func FindSites(file string) (*Sites, error) {
	f, err := elf.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	symbols, err := f.Symbols()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	s := new(Sites)
	for _, rela := range f.Sections {
		if rela.Type != elf.SHT_RELA || int(rela.Info) >= len(f.Sections) {
			continue
		}
		text := f.Sections[rela.Info]
		if text.Flags&elf.SHF_EXECINSTR == 0 || strings.HasPrefix(text.Name, ".init") || strings.HasPrefix(text.Name, ".exit") {
			continue
		}
		offsets, err := traced(f, rela, symbols)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if len(offsets) == 0 {
			continue
		}
		start, err := loadedAt(text.Name)
		if err != nil {
			return nil, err
		}
		r := siteRange{start, make([]int32, text.Size+8)}
		for _, at := range offsets {
			s.names = append(s.names, nameOf(symbols, elf.SectionIndex(rela.Info), at))
			r.index[at+4] = int32(len(s.names)) // where the call returns to
		}
		s.ranges = append(s.ranges, r)
	}
	if len(s.names) == 0 {
		return nil, ErrNoKcov
	}
	return s, nil
}

// traced returns where a section calls what records.
func traced(f *elf.File, rela *elf.Section, symbols []elf.Symbol) ([]uint64, error) {
	b, err := rela.Data()
	if err != nil {
		return nil, err
	}
	var all []uint64
	for ; len(b) >= 24; b = b[24:] {
		sym := f.ByteOrder.Uint64(b[8:]) >> 32
		if sym > 0 && int(sym) <= len(symbols) && symbols[sym-1].Name == "__sanitizer_cov_trace_pc" {
			all = append(all, f.ByteOrder.Uint64(b))
		}
	}
	slices.Sort(all)
	return all, nil
}

func loadedAt(section string) (uint64, error) {
	b, err := os.ReadFile(filepath.Join("/sys/module/nlpeer/sections", section))
	if err != nil {
		return 0, fmt.Errorf("where the module is: %w", err)
	}
	return strconv.ParseUint(strings.TrimSpace(string(b)), 0, 64)
}

func nameOf(symbols []elf.Symbol, section elf.SectionIndex, at uint64) string {
	for _, sym := range symbols {
		if sym.Section == section && elf.ST_TYPE(sym.Info) == elf.STT_FUNC && at >= sym.Value && at < sym.Value+sym.Size {
			return fmt.Sprintf("%s+%#x", sym.Name, at-sym.Value)
		}
	}
	return fmt.Sprintf("?+%#x", at)
}

// Count is the number of sites.
func (s *Sites) Count() int { return len(s.names) }

// Name tells where a site is.
func (s *Sites) Name(i int) string { return s.names[i] }

// find returns the number of the site that recorded a PC, -1 if it is not in
// the module.
func (s *Sites) find(pc uint64) int {
	for _, r := range s.ranges {
		if d := pc - r.start; d < uint64(len(r.index)) {
			return int(r.index[d]) - 1
		}
	}
	return -1
}

// Cover is a set of sites.
type Cover []uint64

// NewCover returns an empty set.
func (s *Sites) NewCover() Cover { return make(Cover, (len(s.names)+63)/64) }

func (s *Sites) add(c Cover, pcs []uint64) {
	for _, pc := range pcs {
		if i := s.find(pc); i >= 0 {
			c[i/64] |= 1 << (i % 64)
		}
	}
}

// Has says whether the site i is in the set.
func (c Cover) Has(i int) bool { return c[i/64]>>(i%64)&1 != 0 }

// Count returns the number of sites in the set.
func (c Cover) Count() int {
	n := 0
	for i := range len(c) * 64 {
		if c.Has(i) {
			n++
		}
	}
	return n
}

// Contains says whether all of d is in c.
func (c Cover) Contains(d Cover) bool {
	for i := range d {
		if d[i]&^c[i] != 0 {
			return false
		}
	}
	return true
}

// New returns what of d is not in c.
func (c Cover) New(d Cover) Cover {
	n := make(Cover, len(c))
	for i := range d {
		n[i] = d[i] &^ c[i]
	}
	return n
}

// Add adds d to c.
func (c Cover) Add(d Cover) {
	for i := range d {
		c[i] |= d[i]
	}
}
