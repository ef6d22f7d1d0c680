// SPDX-License-Identifier: MIT

package leaks_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

// pagePoison is what the kernel writes over pages that are free.
const pagePoison = 0xaa

// poisoned wants that free memory of the kernel is poisoned, or what it forgets to
// write is zero by chance, and the suite shows nothing.
func poisoned(t *testing.T) {
	t.Helper()
	for _, cache := range []string{"kmalloc-512", "skbuff_small_head"} {
		b, err := os.ReadFile(filepath.Join("/sys/kernel/slab", cache, "poison"))
		if os.IsNotExist(err) && cache != "kmalloc-512" {
			continue // older than 6.3, where it is all kmalloc
		}
		if err != nil || string(b) != "1\n" {
			t.Fatalf("free memory of %s is not poisoned, so this shows nothing: %q, %v", cache, b, err)
		}
	}
}

// What is too large for the caches of small memory comes in whole pages. So that
// nobody takes a boot argument's word for it, here is an answer that waits to be
// read, as it lies in the kernel's memory: what nobody has written behind its end
// must be poison.
func TestLargeMemoryIsPoisoned(t *testing.T) {
	const (
		size  = 20000             // takes 32 KiB, of which netlink gives nothing back
		block = 32 << 10          // a power of two of pages
		end   = block - (1 << 10) // behind it is what the kernel keeps about the message
	)
	core, err := elf.Open("/proc/kcore")
	vmtest.Need(t, vmtest.PagePoison, err == nil)
	defer core.Close()
	vmtest.Module(t, "interval_ms=0")
	s := vmtest.Open(t, unix.NETLINK_GENERIC, 0, 0)
	payload := vmtest.Random(t, size)
	seq := binary.NativeEndian.Uint32(payload)
	s.Send(t, vmtest.NewGenl(vmtest.Nlpeer(t).ID, vmtest.CmdEcho, seq, vmtest.Attr{Type: 1, Data: payload}).Bytes())

	length := 16 + 4 + 4 + size
	lies := find(t, core, func(page []byte) bool {
		u32 := func(at int) uint32 { return binary.NativeEndian.Uint32(page[at:]) }
		return u32(0) == uint32(length) && u32(8) == seq && u32(12) == s.PortID && bytes.Equal(page[24:1024], payload[:1000])
	}, block)
	if lies == nil {
		t.Fatal("the answer is nowhere in the kernel's memory")
	}
	if !bytes.Equal(lies[24:length], payload) {
		t.Fatal("the answer in the kernel's memory is another")
	}
	tail := lies[length:end]
	n := bytes.Count(tail, []byte{pagePoison})
	t.Logf("behind the answer are %d bytes that nobody has written, %d of them poison", len(tail), n)
	if n != len(tail) {
		t.Logf("not all is poison: % x …", tail[:64])
	}
	vmtest.Need(t, vmtest.PagePoison, n == len(tail))
}

// find looks through the kernel's memory for a page, and returns what begins with it.
func find(t *testing.T, core *elf.File, is func(page []byte) bool, size int) []byte {
	t.Helper()
	const pageSize = 4096
	chunk := make([]byte, 1<<20)
	for _, p := range core.Progs {
		// Memory by its physical address, not what is mapped besides.
		if p.Type != elf.PT_LOAD || p.Paddr == math.MaxUint64 || p.Paddr == math.MaxUint32 {
			continue
		}
		for at := int64(0); at < int64(p.Filesz); at += int64(len(chunk)) {
			n, err := p.ReadAt(chunk, at)
			if n == 0 {
				t.Fatalf("/proc/kcore: %d bytes into the memory at %#x: %v", at, p.Vaddr, err)
			}
			for i := 0; i+pageSize <= n; i += pageSize {
				if !is(chunk[i:]) {
					continue
				}
				// At once: the chunk has a copy of it from now on.
				b := make([]byte, size)
				if n, err := p.ReadAt(b, at+int64(i)); n < size {
					t.Fatalf("/proc/kcore: %d bytes: %v", n, err)
				}
				return b
			}
		}
	}
	return nil
}
