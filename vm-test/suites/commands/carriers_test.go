// SPDX-License-Identifier: MIT

package commands_test

import (
	"bufio"
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nlpeer/pkg/client"
	"nlpeer/pkg/wire"
	"nlpeer/vm-test/suites/vmtest"
)

func TestEchoOverAllCarriers(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	for _, via := range []string{"raw", "genl", "connector", "rtnl"} {
		got := run(t, "", "nlecho", "-q", "--via", via, "-c", "3", "-f", "-s", "16364")
		got.stdout = shape(got.stdout)
		expect(t, got, 0, "N transmitted, N received, N% loss, rtt min/avg/max/mdev = N/N/N/N ms\n", "")
	}
}

// newObject makes an object with one value.
func newObject(t *testing.T, key, value string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), vmtest.Deadline())
	defer cancel()
	conn, err := client.Dial(ctx, client.Config{Carrier: client.Rtnl})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.NewObject(ctx, key, wire.ModifierCreate, []byte(value)); err != nil {
		t.Fatal(err)
	}
}

// Objects are printed, and a module that is unloaded is no failure.
func TestSubObjectsUntilTheEnd(t *testing.T) {
	for name, args := range map[string][]string{
		"objects":   {"nlsub", "--via", "genl", "-g", "objects"},
		"connector": {"nlsub", "--via", "connector"},
	} {
		t.Run(name, func(t *testing.T) {
			vmtest.Module(t, "interval_ms=0")
			cmd := command(t, args...)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			var stderr strings.Builder
			cmd.Stderr = &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			protocol := map[string]int{"objects": 16, "connector": 11}[name]
			vmtest.Until(t, "nlsub has joined its group", func() bool {
				for _, s := range vmtest.Sockets(t) {
					if s.Protocol == protocol && s.PortID != 0 && s.Groups != 0 {
						return true
					}
				}
				return false
			})
			newObject(t, "a key", "a value")
			r := bufio.NewReader(out)
			line, _ := r.ReadString('\n')
			if want := "group=" + name + " seq=N kind=object-new time=N key=\"a key\" gen=N values=N \"a value\"\n"; shape(line) != want {
				t.Errorf("%q, want %q", shape(line), want)
			}
			vmtest.Unload(t)
			var rest strings.Builder
			r.WriteTo(&rest)
			if err := cmd.Wait(); err != nil {
				t.Errorf("exit status: %v", err)
			}
			if diff := cmp.Diff("group "+name+": 1 received, 0 recovered, 0 lost\n1 received, 0 recovered, 0 lost, 0 overruns\n", rest.String()); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff("nlsub: the peer left: the nlpeer module was unloaded\n", stderr.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestConnectorRefused(t *testing.T) {
	vmtest.Module(t, "connector=0", "rtnl=0")
	for _, via := range []string{"connector", "rtnl"} {
		expect(t, run(t, "", "nlecho", "--via", via, "hi"), 2, "", "nlecho: the nlpeer module was loaded with "+via+"=0; try another --via\n")
	}
	vmtest.Unload(t)
	expect(t, run(t, "", "nlsub", "--via", "connector"), 2, "", "nlsub: the nlpeer module is not loaded (nobody answers on the connector); try: sudo insmod nlpeer.ko, or: make demo\n")
	expect(t, run(t, "", "nlecho", "--via", "rtnl", "hi"), 2, "", "nlecho: the nlpeer module is not loaded (protocol family 127 is unknown to rtnetlink); try: sudo insmod nlpeer.ko, or: make demo\n")
}
