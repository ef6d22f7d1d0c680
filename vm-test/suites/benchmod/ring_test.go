// SPDX-License-Identifier: MIT

package benchmod_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

// As in nlpeer_bench.h.
const (
	ringSize   = 1 << 20
	requestsAt = 65536
	answersAt  = requestsAt + ringSize
	mapSize    = answersAt + ringSize
	entryLen   = 8
)

// The indices, as offsets into the mapping.
const (
	requestHead = 0
	requestTail = 64
	answerHead  = 128
	answerTail  = 192
)

func mapDevice(t *testing.T, fd int) []byte {
	t.Helper()
	area, err := unix.Mmap(fd, 0, mapSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatalf("mmap: %v", err)
	}
	return area
}

// rings is an open device and what a careful user of its rings knows.
type rings struct {
	fd         int
	area       []byte
	tail, head uint32 // of the requests, of the answers
}

func openRings(t *testing.T) *rings {
	t.Helper()
	r := &rings{fd: opened(t, device)}
	r.area = mapDevice(t, r.fd)
	t.Cleanup(func() { _ = unix.Munmap(r.area) })
	return r
}

func (r *rings) index(at int) *atomic.Uint32 {
	return (*atomic.Uint32)(unsafe.Pointer(&r.area[at]))
}

func (r *rings) requests() []byte { return r.area[requestsAt:answersAt] }
func (r *rings) answers() []byte  { return r.area[answersAt:mapSize] }

func (r *rings) ring() (int, unix.Errno) { return ioctl(r.fd, ioctlDoorbell, nil) }

func aligned(n int) uint32 { return uint32(n+7) &^ 7 }

// put queues a request whose header says length, unseen by the kernel yet.
func (r *rings) put(id, length uint32, payload []byte) {
	at := r.tail % ringSize
	binary.NativeEndian.PutUint32(r.requests()[at:], length)
	binary.NativeEndian.PutUint32(r.requests()[at+4:], id)
	at = (at + entryLen) % ringSize
	n := copy(r.requests()[at:], payload)
	copy(r.requests(), payload[n:])
	r.tail += entryLen + aligned(len(payload))
}

// publish shows the requests to the kernel.
func (r *rings) publish() { r.index(requestTail).Store(r.tail) }

// take reads the next answer.
func (r *rings) take(t *testing.T, id uint32, want []byte) {
	t.Helper()
	if r.index(answerTail).Load()-r.head < entryLen {
		t.Fatalf("no answer to request %d", id)
	}
	at := r.head % ringSize
	length, gotID := binary.NativeEndian.Uint32(r.answers()[at:]), binary.NativeEndian.Uint32(r.answers()[at+4:])
	if gotID != id || length != uint32(len(want)) {
		t.Fatalf("answer %d of %d bytes, want %d of %d", gotID, length, id, len(want))
	}
	at = (at + entryLen) % ringSize
	got := append([]byte(nil), r.answers()[at:min(ringSize, int(at)+len(want))]...)
	got = append(got, r.answers()[:len(want)-len(got)]...)
	if !bytes.Equal(got, want) {
		t.Fatalf("answer %d has other bytes than its request", id)
	}
	r.head += entryLen + aligned(len(want))
	r.index(answerHead).Store(r.head)
}

// answered rings, and fails the test if the kernel says anything but n.
func (r *rings) answered(t *testing.T, n int) {
	t.Helper()
	if got, errno := r.ring(); got != n || errno != 0 {
		t.Fatalf("the doorbell says %d, %v; want %d", got, errno, n)
	}
	if head := r.index(requestHead).Load(); head != r.tail {
		t.Errorf("the kernel shows %d bytes of requests read, want %d", head, r.tail)
	}
}

func (r *rings) refused(t *testing.T, what string, want unix.Errno) {
	t.Helper()
	if n, errno := r.ring(); n != -1 || errno != want {
		t.Errorf("%s: the doorbell says %d, %v; want %v", what, n, errno, want)
	}
}

// Random batches of random lengths, until both rings have wrapped many times.
func TestRing(t *testing.T) {
	r := openRings(t)
	r.answered(t, 0)
	random := vmtest.Rand(t)
	source := vmtest.Bytes(random, 2*echoMax)
	var id uint32
	for r.tail < 6*ringSize {
		var batch [][]byte
		room := ringSize
		for range 1 + random.IntN(40) {
			size := random.IntN(200)
			if random.IntN(8) == 0 {
				size = random.IntN(echoMax + 1)
			}
			if room -= entryLen + int(aligned(size)); room < 0 {
				break
			}
			from := random.IntN(echoMax)
			batch = append(batch, source[from:from+size])
			r.put(id+uint32(len(batch)), uint32(size), source[from:from+size])
		}
		r.publish()
		r.answered(t, len(batch))
		for _, want := range batch {
			id++
			r.take(t, id, want)
		}
	}
	if got, want := r.index(answerTail).Load(), r.head; got != want {
		t.Errorf("the kernel has written %d bytes of answers, we have read %d", got, want)
	}
}

// A ring is full to the last byte, and its answers fill the other one.
func TestRingFull(t *testing.T) {
	r := openRings(t)
	payload := vmtest.Random(t, 1016)
	for round := range 2 {
		for i := range uint32(ringSize / 1024) {
			r.put(i, 1016, payload)
		}
		r.publish()
		r.answered(t, ringSize/1024)

		// No answer is read, so there is no room for another, not even an
		// empty one.
		r.put(7777, 0, nil)
		r.publish()
		r.refused(t, "a full ring of answers", unix.ENOSPC)
		r.take(t, 0, payload)
		r.answered(t, 1)
		for i := range uint32(ringSize/1024 - 1) {
			r.take(t, i+1, payload)
		}
		r.take(t, 7777, nil)
		if t.Failed() {
			t.Fatalf("round %d", round)
		}
	}
}

// As many as there is room for are answered, the rest later.
func TestRingPart(t *testing.T) {
	r := openRings(t)
	big := vmtest.Random(t, echoMax)
	for i := range uint32(31) {
		r.put(i, echoMax, big)
	}
	r.publish()
	r.answered(t, 31)
	r.put(31, 1000, big[:1000])
	r.put(32, echoMax, big)
	r.put(33, 0, nil)
	r.publish()
	if n, errno := r.ring(); n != 1 || errno != 0 {
		t.Fatalf("the doorbell says %d, %v; want 1", n, errno)
	}
	r.refused(t, "no room for the next", unix.ENOSPC)
	r.take(t, 0, big)
	r.answered(t, 2)
	for i := range uint32(30) {
		r.take(t, i+1, big)
	}
	r.take(t, 31, big[:1000])
	r.take(t, 32, big)
	r.take(t, 33, nil)
}

func TestRingLies(t *testing.T) {
	payload := vmtest.Random(t, 64)

	t.Run("indices", func(t *testing.T) {
		r := openRings(t)
		r.put(1, 64, payload)
		r.publish()
		r.answered(t, 1)
		tail, head := r.tail, r.head
		for _, add := range []uint32{1, 4, 7, ringSize + 8, 1 << 31, ^uint32(7)} {
			r.index(requestTail).Store(tail + add)
			r.refused(t, "a tail of requests that lies", unix.EINVAL)
		}
		r.index(requestTail).Store(tail)
		// 72 bytes were written: more cannot have been read, nor a part.
		for _, add := range []uint32{1, 4, 73, 80, ringSize, 1 << 31, ^uint32(0)} {
			r.index(answerHead).Store(head + add)
			r.refused(t, "a head of answers that lies", unix.EINVAL)
		}
		// And what the kernel writes there, it does not read.
		r.index(answerHead).Store(head)
		r.index(requestHead).Store(^uint32(0))
		r.index(answerTail).Store(12345)
		r.put(2, 64, payload)
		r.publish()
		r.answered(t, 1)
		r.take(t, 1, payload)
		r.take(t, 2, payload)
	})

	t.Run("lengths", func(t *testing.T) {
		for length, want := range map[uint32]unix.Errno{
			65:          unix.EINVAL, // 72 bytes, and 64 are there
			4096:        unix.EINVAL,
			echoMax:     unix.EINVAL,
			echoMax + 1: unix.EMSGSIZE,
			1<<32 - 1:   unix.EMSGSIZE, // aligned, it would be 0
			1<<32 - 8:   unix.EMSGSIZE, // and with the header
		} {
			r := openRings(t)
			r.put(1, 64, payload)
			r.put(2, length, payload)
			r.publish()
			// What came before is answered; the lie stays where it is.
			if n, errno := r.ring(); n != 1 || errno != 0 {
				t.Errorf("before length %d: %d, %v", length, n, errno)
			}
			r.refused(t, "a length that lies", want)
			r.refused(t, "the same again", want)
			r.take(t, 1, payload)
			if tail := r.index(answerTail).Load(); tail != r.head {
				t.Errorf("length %d: %d bytes more are in the ring of answers", length, tail-r.head)
			}
			// Said right, it is answered.
			binary.NativeEndian.PutUint32(r.requests()[72:], 64)
			r.answered(t, 1)
			r.take(t, 2, payload)
		}
	})

	// Only a header, or less, is left of what was promised.
	t.Run("a part of a request", func(t *testing.T) {
		r := openRings(t)
		r.put(1, 64, payload)
		r.index(requestTail).Store(entryLen)
		r.refused(t, "a header alone", unix.EINVAL)
		r.publish()
		r.answered(t, 1)
		r.take(t, 1, payload)
	})
}

// Another thread writes into indices and headers while the doorbell rings. The
// kernel refuses or answers, and comes to no harm.
func TestRingScribble(t *testing.T) {
	r := openRings(t)
	payload := vmtest.Random(t, 64)
	random := vmtest.Rand(t)
	var stop atomic.Bool
	var answered, refused int
	vmtest.Together(func() {
		mine := rand.New(rand.NewPCG(random.Uint64(), 1))
		words := unsafe.Slice((*uint32)(unsafe.Pointer(&r.area[0])), mapSize/4)
		for !stop.Load() {
			at := []int{requestTail / 4, answerHead / 4}[mine.IntN(2)]
			if mine.IntN(4) != 0 { // one of the 16 headers
				head := r.index(requestHead).Load()
				at = (requestsAt + int(head+72*mine.Uint32N(16))%ringSize) / 4
			}
			value := mine.Uint32()
			if mine.IntN(2) == 0 {
				value &= 2*ringSize - 1
			}
			if mine.IntN(2) == 0 {
				value &^= 7
			}
			atomic.StoreUint32(&words[at], value)
		}
	}, func() {
		defer stop.Store(true)
		for range 20000 {
			// All is as it should be, for a moment.
			head := r.index(requestHead).Load()
			for i := range uint32(16) {
				binary.NativeEndian.PutUint32(r.requests()[(head+i*72)%ringSize:], 64)
			}
			r.index(answerHead).Store(r.index(answerTail).Load())
			r.index(requestTail).Store(head + 16*72)
			switch n, errno := r.ring(); {
			case errno == 0 && n >= 0 && n <= ringSize/entryLen:
				answered += n
			case errno == unix.EINVAL || errno == unix.EMSGSIZE || errno == unix.ENOSPC:
				refused++
			default:
				t.Fatalf("the doorbell says %d, %v", n, errno)
			}
		}
	})
	if answered == 0 || refused == 0 {
		t.Errorf("%d answered and %d refused; want some of both", answered, refused)
	}

	// An open file of its own is as good as new.
	other := openRings(t)
	other.put(1, 64, payload)
	other.publish()
	other.answered(t, 1)
	other.take(t, 1, payload)
}

// Each open file has rings of its own, and all mappings of one file the same.
func TestRingsOfTwo(t *testing.T) {
	one, two := openRings(t), openRings(t)
	a, b := vmtest.Random(t, 100), vmtest.Random(t, 200)
	one.put(1, 100, a)
	one.publish()
	two.put(2, 200, b)
	two.publish()
	one.answered(t, 1)
	two.answered(t, 1)
	one.take(t, 1, a)
	two.take(t, 2, b)

	again := mapDevice(t, one.fd)
	defer func() { _ = unix.Munmap(again) }()
	if !bytes.Equal(again, one.area) {
		t.Error("a second mapping of the same file is another")
	}
}

// Mapping waits for nobody who writes from memory that is not there yet: who
// writes may have to wait for the same memory map.
func TestMmapWhileWriting(t *testing.T) {
	fd := opened(t, device)
	const rounds = 500
	vmtest.Together(func() {
		for range rounds {
			absent, err := unix.Mmap(-1, 0, echoMax, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
			if err != nil {
				t.Error(err)
				return
			}
			if n, err := unix.Write(fd, absent); n != echoMax || err != nil {
				t.Errorf("write: %d, %v", n, err)
			}
			_ = unix.Munmap(absent)
		}
	}, func() {
		for range rounds {
			area, err := unix.Mmap(fd, 0, mapSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			if err != nil {
				t.Error(err)
				return
			}
			_ = unix.Munmap(area)
		}
	})
}

func TestMmapRefused(t *testing.T) {
	fd := opened(t, device)
	if n, errno := ioctl(fd, ioctlDoorbell, nil); n != -1 || errno != unix.ENXIO {
		t.Errorf("the doorbell without rings: %d, %v; want ENXIO", n, errno)
	}
	page := unix.Getpagesize()
	for _, c := range []struct {
		name   string
		offset int64
		length int
		flags  int
	}{
		{"beyond the end", 0, mapSize + page, unix.MAP_SHARED},
		{"far beyond", 0, 4 * mapSize, unix.MAP_SHARED},
		{"from behind the end", mapSize, page, unix.MAP_SHARED},
		{"the end and more", mapSize - int64(page), 2 * page, unix.MAP_SHARED},
		{"from far behind", 1 << 31, page, unix.MAP_SHARED},
		{"from behind 32 bits", 1 << 40, page, unix.MAP_SHARED},
		{"private", 0, mapSize, unix.MAP_PRIVATE},
	} {
		want := unix.EINVAL
		if strconv.IntSize == 32 && c.offset > math.MaxUint32 { // says the kernel before it asks the module
			want = unix.EOVERFLOW
		}
		b, err := unix.Mmap(fd, c.offset, c.length, unix.PROT_READ|unix.PROT_WRITE, c.flags)
		if err != want {
			t.Errorf("%s: %v, want %v", c.name, err, want)
		}
		if err == nil {
			_ = unix.Munmap(b)
		}
	}
	// A part will do, and does not grow.
	b, err := unix.Mmap(fd, 0, requestsAt, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	clear(b)
	if _, err := unix.Mremap(b, mapSize+page, unix.MREMAP_MAYMOVE); err != unix.EFAULT && err != unix.EINVAL {
		t.Errorf("growing: %v, want EFAULT", err)
	}
	_ = unix.Munmap(b)

	proc := opened(t, procFile)
	if _, err := unix.Mmap(proc, 0, page, unix.PROT_READ, unix.MAP_SHARED); err != unix.ENODEV && err != unix.EIO {
		t.Errorf("mapping the file of procfs: %v, want EIO", err)
	}
	if _, errno := ioctl(proc, ioctlNull, nil); errno != unix.ENOTTY {
		t.Errorf("ioctl on the file of procfs: %v, want ENOTTY", errno)
	}
}
