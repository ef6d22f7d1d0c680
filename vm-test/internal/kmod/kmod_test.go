// SPDX-License-Identifier: MIT

package kmod_test

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nlpeer/internal/fuzzing"
	"nlpeer/vm-test/internal/kmod"
)

// module makes the smallest ELF file that has a .modinfo section.
func module(t testing.TB, fields ...string) []byte {
	t.Helper()
	info := []byte(strings.Join(fields, "\x00") + "\x00")
	names := []byte("\x00.modinfo\x00.shstrtab\x00")
	const headerSize, sectionSize = 64, 64
	var b bytes.Buffer
	write := func(v any) {
		if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
			t.Fatal(err)
		}
	}
	h := elf.Header64{
		Type: uint16(elf.ET_REL), Machine: uint16(elf.EM_X86_64), Version: 1,
		Shoff: uint64(headerSize + len(info) + len(names)), Ehsize: headerSize,
		Shentsize: sectionSize, Shnum: 3, Shstrndx: 2,
	}
	copy(h.Ident[:], "\x7fELF")
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1
	write(h)
	b.Write(info)
	b.Write(names)
	write(elf.Section64{})
	write(elf.Section64{Name: 1, Type: uint32(elf.SHT_PROGBITS), Off: headerSize, Size: uint64(len(info)), Addralign: 1})
	write(elf.Section64{Name: 10, Type: uint32(elf.SHT_STRTAB), Off: uint64(headerSize + len(info)), Size: uint64(len(names)), Addralign: 1})
	return b.Bytes()
}

func TestParse(t *testing.T) {
	got, err := kmod.Parse(module(t, "license=GPL", "parm=groups:mask", "parm=protocol:number",
		"depends=virtio-ring,virtio", "name=virtio_pci", "vermagic=6.1.0-56-amd64 SMP preempt mod_unload modversions ", "odd"))
	if err != nil {
		t.Fatal(err)
	}
	want := kmod.Info{
		Name: "virtio_pci", Depends: []string{"virtio_ring", "virtio"},
		Magic: "6.1.0-56-amd64 SMP preempt mod_unload modversions ",
		Fields: map[string][]string{
			"license": {"GPL"}, "parm": {"groups:mask", "protocol:number"},
			"depends": {"virtio-ring,virtio"}, "name": {"virtio_pci"},
			"vermagic": {"6.1.0-56-amd64 SMP preempt mod_unload modversions "},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got, err := kmod.Parse(module(t, "depends=", "name=virtio_ring")); err != nil || got.Depends != nil {
		t.Errorf("no dependencies: %q, %v", got.Depends, err)
	}
}

func TestParseRefuses(t *testing.T) {
	noInfo := bytes.Replace(module(t, "name=x"), []byte(".modinfo"), []byte(".madinfo"), 1)
	for name, image := range map[string][]byte{"empty": {}, "text": []byte("hello, this is no module"), "no section": noInfo} {
		if _, err := kmod.Parse(image); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// tree writes a modules folder: name -> its dependencies.
func tree(t *testing.T, builtin string, modules map[string]string) *kmod.Tree {
	t.Helper()
	dir := t.TempDir()
	put := func(name string, content []byte) {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put("modules.builtin", []byte(builtin))
	for file, depends := range modules {
		image := module(t, "depends="+depends)
		if strings.HasSuffix(file, ".gz") {
			var z bytes.Buffer
			w := gzip.NewWriter(&z)
			w.Write(image)
			w.Close()
			image = z.Bytes()
		}
		put("kernel/"+file, image)
	}
	got, err := kmod.OpenTree(dir)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestOrder(t *testing.T) {
	tr := tree(t, "kernel/drivers/serial/serial.ko\n", map[string]string{
		"a/virtio_pci.ko":     "virtio_ring,virtio,virtio-pci-modern",
		"a/virtio-console.ko": "virtio_ring,virtio,serial",
		"a/virtio.ko.gz":      "virtio_ring", "b/virtio_ring.ko": "", "b/virtio-pci-modern.ko": "virtio_ring",
	})
	files, err := tr.Order("virtio_pci", "virtio_console", "virtio-pci", "serial")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range files {
		got = append(got, filepath.Base(f))
	}
	want := []string{"virtio_ring.ko", "virtio.ko.gz", "virtio-pci-modern.ko", "virtio_pci.ko", "virtio-console.ko"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOrderRefuses(t *testing.T) {
	tr := tree(t, "", map[string]string{"a.ko": "b", "b.ko": "a", "c.ko": "gone"})
	if _, err := tr.Order("c"); !errors.Is(err, kmod.ErrUnknown) || !strings.Contains(err.Error(), "c needs gone") {
		t.Errorf("a missing dependency: %v", err)
	}
	if _, err := tr.Order("a"); err == nil || !strings.Contains(err.Error(), "depends on itself") {
		t.Errorf("a circle: %v", err)
	}
}

// FuzzParse: any file may be called .ko.
func FuzzParse(f *testing.F) {
	f.Add(module(f, "name=x", "depends=a,b"))
	f.Fuzz(func(t *testing.T, image []byte) {
		defer fuzzing.Limit(image)()
		info, err := kmod.Parse(image)
		if err == nil && strings.ContainsRune(info.Name, 0) {
			t.Errorf("a name with a zero byte: %q", info.Name)
		}
	})
}
