// SPDX-License-Identifier: MIT

package batch_test

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/pkg/client"
	"nlpeer/pkg/wire"
	"nlpeer/vm-test/suites/vmtest"
)

func TestPipeline(t *testing.T) {
	vmtest.Module(t)
	acknowledged(t, func(t *testing.T, cfg client.Config) {
		for _, buffer := range []int{0, least()} {
			r := vmtest.Rand(t)
			cfg.ReceiveBuffer = buffer
			var want []wanted
			take, told := check(t, &want)
			next := 0
			p, err := client.DialPipeline(background(t), cfg, client.PipelineConfig{Answer: take, Sending: func(first, n int) {
				for ; next < first; next++ {
					if want[next].err == nil {
						t.Fatalf("%d messages from %d on are sent, and not %d", n, first, next)
					}
				}
				next = first + n
			}})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			requests := vmtest.Times(2000)
			for i := range requests {
				w := wanted{payload: vmtest.Bytes(r, r.IntN(100))}
				if i == requests/2 || r.IntN(100) == 0 {
					w = wanted{err: unix.EMSGSIZE}
					want = append(want, w)
					err = p.Echo(background(t), make([]byte, wire.PayloadMax+1))
				} else {
					want = append(want, w)
					err = p.Echo(background(t), w.payload)
				}
				if err == nil && r.IntN(500) == 0 {
					err = p.Flush(background(t))
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := p.Drain(background(t)); err != nil {
				t.Fatal(err)
			}
			n := p.Counters()
			if *told != len(want) || n.Requests != uint64(requests) || n.Answers != uint64(requests) || n.Failed == 0 || n.Stale != 0 || n.Foreign != 0 || n.Overruns != 0 {
				t.Errorf("buffer of %d: %d answers, counters %+v", buffer, *told, n)
			}
			switch packs := cfg.Carrier == client.Raw || cfg.Carrier == client.Connector; {
			case cfg.Acknowledge: // an acknowledgment ends its datagram
			case packs && n.Received > n.Sent, !packs && n.Received != n.Answers-n.Failed: // what failed was not sent
				t.Errorf("buffer of %d: %d datagrams sent, %d received, counters %+v", buffer, n.Sent, n.Received, n)
			}
		}
	})
}

// nlecho's batches on each way.
func TestCommand(t *testing.T) {
	for _, test := range []struct {
		module, args string
		packs        bool
		text         string
	}{
		{"batch=1", "--via raw", true, ""},
		{"batch=1", "--via raw --ack", false, ""}, // an acknowledgment ends its datagram
		{"batch=1", "--via genl", false, "640 messages in 10 datagrams were answered in 640: the peer does not pack answers\n"},
		{"batch=1", "--via rtnl", false, "640 messages in 10 datagrams were answered in 640: the peer does not pack answers\n"},
		{"batch=1", "--via connector", false, ""},
		{"batch=0", "--via raw", false, "640 messages in 10 datagrams were answered in 640: the peer does not pack answers\n"},
	} {
		t.Run(test.module+" "+test.args, func(t *testing.T) {
			vmtest.Module(t, test.module)
			for _, mode := range []string{"-f", "-q -i 0"} {
				args := strings.Fields("--batch 64 -c 640 -s 64 " + mode + " " + test.args)
				out, err := exec.Command("nlecho", args...).CombinedOutput()
				if err != nil {
					t.Fatalf("nlecho %v: %v\n%s", args, err, out)
				}
				rest, ok := strings.CutPrefix(string(out), test.text)
				if !ok || !strings.HasPrefix(rest, "640 transmitted, 640 received, 0% loss, rtt ") || strings.Count(rest, "\n") != 1 {
					t.Errorf("nlecho %v: %q", args, out)
				}
				out, err = exec.Command("nlecho", append(args, "-o", "json")...).Output()
				var sum struct {
					Type                  string
					Transmitted, Received int
					Sent                  int `json:"datagrams_sent"`
					Came                  int `json:"datagrams_received"`
				}
				if err != nil || json.Unmarshal(out, &sum) != nil || sum.Type != "summary" || sum.Transmitted != 640 || sum.Received != 640 {
					t.Fatalf("nlecho %v -o json: %v\n%s", args, err, out)
				}
				if (sum.Came < 640) != test.packs || test.packs && sum.Sent != 10 {
					t.Errorf("nlecho %v: %d datagrams, and %d back", args, sum.Sent, sum.Came)
				}
			}
		})
	}
}
