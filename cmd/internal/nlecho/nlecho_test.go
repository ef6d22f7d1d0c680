// SPDX-License-Identifier: MIT

package nlecho_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"nlpeer"
	"nlpeer/cmd/internal/cli"
	"nlpeer/cmd/internal/clitest"
	"nlpeer/cmd/internal/nlecho"
	"nlpeer/pkg/client"
)

func TestMain(m *testing.M) { clitest.Main(m, nlecho.Command) }

func TestCommon(t *testing.T) {
	clitest.CheckCommon(t, nlecho.Command, "nlecho", nlpeer.Version())
	clitest.CheckOutputEnds(t)
}

// A peer answers as the test wants. Its clock is that of the synctest bubble: an
// answer takes 41 µs.
type peer struct {
	cfg    client.Config
	sent   []string
	times  []time.Duration // since the first message
	first  time.Time
	closed bool
	stale  uint64
	packs  bool
	breaks error // what a pipeline fails with, once; it would go on

	// answer returns what comes back for message n, counted from 1. Nil stands
	// for what was sent.
	answer func(ctx context.Context, n int, payload []byte) ([]byte, error)
}

func (p *peer) dial(_ context.Context, cfg client.Config) (nlecho.Echoer, error) {
	p.cfg = cfg
	return p, nil
}

func (p *peer) AppendEcho(ctx context.Context, dst, payload []byte) ([]byte, error) {
	if len(p.sent) == 0 {
		p.first = time.Now()
	}
	p.sent = append(p.sent, string(payload))
	p.times = append(p.times, time.Since(p.first))
	if p.answer != nil {
		back, err := p.answer(ctx, len(p.sent), payload)
		if err != nil {
			return dst, err
		}
		payload = back
	}
	<-time.After(41 * time.Microsecond)
	return append(dst, payload...), nil
}

func (p *peer) PortID() uint32            { return 1234 }
func (p *peer) Counters() client.Counters { return client.Counters{Stale: p.stale} }
func (p *peer) Close() error              { p.closed = true; return nil }

// A streamPeer is a peer of a pipeline, which answers the messages of a datagram
// one after the other. It packs the answers, if it is one that does.
type streamPeer struct {
	*peer
	pc    client.PipelineConfig
	queue []string
	n     client.PipelineCounters
}

func (p *peer) stream(_ context.Context, cfg client.Config, pc client.PipelineConfig) (nlecho.Streamer, error) {
	p.cfg = cfg
	return &streamPeer{peer: p, pc: pc}, nil
}

func (p *streamPeer) Echo(ctx context.Context, payload []byte) error {
	p.queue = append(p.queue, string(payload))
	if len(p.queue) < p.pc.Batch {
		return nil
	}
	return p.Drain(ctx)
}

func (p *streamPeer) Drain(ctx context.Context) error {
	if len(p.queue) == 0 {
		return ctx.Err()
	}
	p.pc.Sending(int(p.n.Requests), len(p.queue))
	if err := p.breaks; err != nil {
		p.breaks = nil
		return err
	}
	p.n.Requests += uint64(len(p.queue))
	p.n.Sent++
	queue := p.queue
	p.queue = nil
	for _, payload := range queue {
		limited, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
		answer, err := p.AppendEcho(limited, nil, []byte(payload))
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			answer = nil
			p.n.Failed++
		} else if !p.packs {
			p.n.Received++
		}
		p.n.Answers++
		p.pc.Answer(client.Answer{Index: int(p.n.Answers) - 1, Payload: answer, Err: err})
	}
	if p.packs {
		p.n.Received++
	}
	return nil
}

func (p *streamPeer) Counters() client.PipelineCounters {
	p.n.Stale = p.stale
	return p.n
}

// silent does not answer the messages that are listed.
func silent(lost ...int) func(context.Context, int, []byte) ([]byte, error) {
	return func(ctx context.Context, n int, payload []byte) ([]byte, error) {
		for _, l := range lost {
			if n == l || l == all {
				<-ctx.Done()
				return nil, &client.OpError{Op: "echo", Err: ctx.Err()}
			}
		}
		return payload, nil
	}
}

const all = -1

// fails fails every time.
func fails(err error) func(context.Context, int, []byte) ([]byte, error) {
	return func(context.Context, int, []byte) ([]byte, error) { return nil, err }
}

func TestOutput(t *testing.T) {
	const rtt = "rtt min/avg/max/mdev = 0.041/0.041/0.041/0.000 ms\n"
	corrupt := func(_ context.Context, n int, payload []byte) ([]byte, error) {
		switch n {
		case 1:
			return []byte("heLlo"), nil
		case 2:
			return []byte("hell"), nil
		}
		return payload, nil
	}
	eperm := &client.OpError{Op: "echo", Err: syscall.EPERM, ExtAck: &client.ExtAck{Text: "not today", Offset: 20}}

	for _, test := range []struct {
		name string
		args string // separated by spaces
		in   string
		peer peer
		want clitest.Result
	}{
		{
			name: "a message once",
			args: "hello",
			want: clitest.Result{Out: `5 bytes from kernel: seq=1 port=1234 time=0.041 ms "hello"` + "\n1 transmitted, 1 received, 0% loss, " + rtt},
		}, {
			name: "quiet",
			args: "-q -c 5 hello",
			want: clitest.Result{Out: "5 transmitted, 5 received, 0% loss, " + rtt},
		}, {
			name: "flood",
			args: "-f -c 1000 hello",
			want: clitest.Result{Out: "1000 transmitted, 1000 received, 0% loss, " + rtt},
		}, {
			name: "a batch",
			args: "--batch 2 -c 3 -i 0 hello",
			peer: peer{packs: true},
			want: clitest.Result{Out: `5 bytes from kernel: seq=1 port=1234 time=0.041 ms "hello"
5 bytes from kernel: seq=2 port=1234 time=0.082 ms "hello"
5 bytes from kernel: seq=3 port=1234 time=0.041 ms "hello"
3 transmitted, 3 received, 0% loss, rtt min/avg/max/mdev = 0.041/0.055/0.082/0.019 ms
`},
		}, {
			name: "a batch and a peer that does not pack",
			args: "--batch 4 -c 8 -f hello",
			want: clitest.Result{Out: `8 messages in 2 datagrams were answered in 8: the peer does not pack answers
8 transmitted, 8 received, 0% loss, rtt min/avg/max/mdev = 0.041/0.102/0.164/0.046 ms
`},
		}, {
			name: "lines in batches",
			args: "--batch 2",
			in:   "one\ntwo\nthree\n",
			peer: peer{packs: true},
			want: clitest.Result{Out: `3 bytes from kernel: seq=1 port=1234 time=0.041 ms "one"
3 bytes from kernel: seq=2 port=1234 time=0.082 ms "two"
5 bytes from kernel: seq=3 port=1234 time=0.041 ms "three"
3 transmitted, 3 received, 0% loss, rtt min/avg/max/mdev = 0.041/0.055/0.082/0.019 ms
`},
		}, {
			name: "a failure and other bytes in a batch",
			args: "--batch 4 -q -c 4 -W 0.5 hello",
			peer: peer{packs: true, answer: func(ctx context.Context, n int, payload []byte) ([]byte, error) {
				switch n {
				case 1:
					return []byte("hell"), nil
				case 2:
					return nil, eperm
				}
				return silent(3)(ctx, n, payload)
			}},
			want: clitest.Result{
				Code: 1,
				Out:  "4 transmitted, 1 received, 75% loss, rtt min/avg/max/mdev = 500.082/500.082/500.082/0.000 ms\n",
				Err: "nlecho: seq=1: the answer is not what was sent: 5 bytes sent, 4 received, they differ from byte 5 on\n" +
					"nlecho: seq=2: echo: operation not permitted: not today (attribute at offset 20)\n" +
					"nlecho: seq=3: no answer within 500ms\n",
			},
		}, {
			name: "the deadline hits in a batch",
			args: "--batch 3 -w 2 -W 10 hello",
			peer: peer{answer: silent(2), packs: true},
			want: clitest.Result{
				Code: 1,
				Out: `5 bytes from kernel: seq=1 port=1234 time=0.041 ms "hello"` +
					"\n3 transmitted, 1 received, 66.7% loss, " + rtt,
				Err: "nlecho: seq=2: interrupted while waiting for the answer\nnlecho: seq=3: interrupted while waiting for the answer\n",
			},
		}, {
			name: "the socket is gone in a batch",
			args: "--batch 2 -c 4 hello",
			peer: peer{answer: fails(&client.OpError{Op: "echo", Err: net.ErrClosed}), packs: true},
			want: clitest.Result{
				Code: 2,
				Out:  "2 transmitted, 0 received, 100% loss\n",
				Err:  "nlecho: seq=1: use of closed network connection\n",
			},
		}, {
			name: "the pipeline breaks",
			args: "--batch 2 -c 4 -i 0 hello",
			peer: peer{breaks: &client.OpError{Op: "pipeline", Err: os.NewSyscallError("recvfrom", syscall.EIO)}, packs: true},
			want: clitest.Result{
				Code: 2,
				Out:  "2 transmitted, 0 received, 100% loss\n",
				Err:  "nlecho: seq=1: recvfrom: input/output error\n",
			},
		}, {
			name: "the pipeline is closed",
			args: "-f -c 4 hello",
			peer: peer{breaks: &client.OpError{Op: "pipeline", Err: net.ErrClosed}},
			want: clitest.Result{
				Code: 2,
				Out:  "1 transmitted, 0 received, 100% loss\n",
				Err:  "nlecho: seq=1: use of closed network connection\n",
			},
		}, {
			name: "the pipeline breaks after the last line",
			args: "-o json --batch 4",
			in:   "1\n2\n" + strings.Repeat("x", 32769) + "\n",
			peer: peer{breaks: &client.OpError{Op: "pipeline", Err: os.NewSyscallError("recvfrom", syscall.EIO)}},
			want: clitest.Result{
				Code: 2,
				Out: `{"type":"lost","seq":1,"port":1234,"bytes":1,"unix_ns":946684800000000000,"reason":"error","error":"recvfrom: input/output error","errno":"EIO"}
{"type":"summary","transmitted":2,"received":0,"lost":2,"loss_percent":100,"stale":0,"time_ns":0,"rtt_ns":null,"datagrams_sent":0,"datagrams_received":0}
`,
				Err: "nlecho: standard input: line 3 is longer than 32768 bytes\n",
			},
		}, {
			name: "a line that is too long in a batch",
			args: "-q --batch 4",
			in:   "1\n" + strings.Repeat("x", 32769) + "\n3\n",
			peer: peer{packs: true},
			want: clitest.Result{
				Code: 2,
				Out:  "1 transmitted, 1 received, 0% loss, " + rtt,
				Err:  "nlecho: standard input: line 2 is longer than 32768 bytes\n",
			},
		}, {
			name: "json of a batch",
			args: "-o json --batch 2 -c 2 hello",
			peer: peer{packs: true},
			want: clitest.Result{Out: `{"type":"answer","seq":1,"port":1234,"bytes":5,"rtt_ns":41000,"unix_ns":946684800000041000,"text":"hello"}
{"type":"answer","seq":2,"port":1234,"bytes":5,"rtt_ns":82000,"unix_ns":946684800000082000,"text":"hello"}
{"type":"summary","transmitted":2,"received":2,"lost":0,"loss_percent":0,"stale":0,"time_ns":82000,"rtt_ns":{"min":41000,"avg":61500,"max":82000,"mdev":20500},"datagrams_sent":1,"datagrams_received":1}
`},
		}, {
			name: "timestamps",
			args: "-D hello",
			want: clitest.Result{Out: `[946684800.000041] 5 bytes from kernel: seq=1 port=1234 time=0.041 ms "hello"` + "\n1 transmitted, 1 received, 0% loss, " + rtt},
		}, {
			name: "an empty message",
			args: "-c 1 --",
			in:   "\n",
			want: clitest.Result{Out: `0 bytes from kernel: seq=1 port=1234 time=0.041 ms ""` + "\n1 transmitted, 1 received, 0% loss, " + rtt},
		}, {
			name: "random payload",
			args: "-s 100 -c 2",
			want: clitest.Result{Out: "100 bytes from kernel: seq=1 port=1234 time=0.041 ms\n100 bytes from kernel: seq=2 port=1234 time=0.041 ms\n2 transmitted, 2 received, 0% loss, " + rtt},
		}, {
			name: "lines",
			in:   "one\n\x1b\xff",
			want: clitest.Result{Out: `3 bytes from kernel: seq=1 port=1234 time=0.041 ms "one"` + "\n" +
				`2 bytes from kernel: seq=2 port=1234 time=0.041 ms "\x1b\xff"` + "\n2 transmitted, 2 received, 0% loss, " + rtt},
		}, {
			name: "as many lines as asked for",
			args: "-q -c 2",
			in:   "1\n2\n3\n",
			want: clitest.Result{Out: "2 transmitted, 2 received, 0% loss, " + rtt},
		}, {
			name: "no lines",
			want: clitest.Result{
				Code: 2,
				Out:  "0 transmitted, 0 received, 0% loss\n",
				Err:  "nlecho: nothing was sent: standard input is empty or closed; give a MESSAGE, or a size with -s\n",
			},
		}, {
			name: "a line that is too long",
			args: "-q",
			in:   "1\n" + strings.Repeat("x", 32769) + "\n3\n",
			want: clitest.Result{
				Code: 2,
				Out:  "1 transmitted, 1 received, 0% loss, " + rtt,
				Err:  "nlecho: standard input: line 2 is longer than 32768 bytes\n",
			},
		}, {
			name: "one of three unanswered",
			args: "-q -c 3 -W 0.5 hello",
			peer: peer{answer: silent(2), stale: 1},
			want: clitest.Result{
				Code: 1,
				Out:  "3 transmitted, 2 received, 33.3% loss, 1 too late, " + rtt,
				Err:  "nlecho: seq=2: no answer within 500ms\n",
			},
		}, {
			name: "none answered",
			args: "-c 2 -D hello",
			peer: peer{answer: silent(all)},
			want: clitest.Result{
				Code: 1,
				Out:  "2 transmitted, 0 received, 100% loss\n",
				Err:  "[946684801.000000] nlecho: seq=1: no answer within 1s\n[946684802.000000] nlecho: seq=2: no answer within 1s\n",
			},
		}, {
			name: "other bytes come back",
			args: "-q -c 3 hello",
			peer: peer{answer: corrupt},
			want: clitest.Result{
				Code: 1,
				Out:  "3 transmitted, 1 received, 66.7% loss, " + rtt,
				Err: "nlecho: seq=1: the answer is not what was sent: 5 bytes sent, 5 received, they differ from byte 3 on\n" +
					"nlecho: seq=2: the answer is not what was sent: 5 bytes sent, 4 received, they differ from byte 5 on\n",
			},
		}, {
			name: "the kernel refuses",
			args: "hello",
			peer: peer{answer: fails(eperm)},
			want: clitest.Result{
				Code: 1,
				Out:  "1 transmitted, 0 received, 100% loss\n",
				Err:  "nlecho: seq=1: echo: operation not permitted: not today (attribute at offset 20)\n",
			},
		}, {
			name: "the answer overruns",
			args: "hello",
			peer: peer{answer: fails(&client.OverrunError{Op: "echo", Count: 1})},
			want: clitest.Result{
				Code: 1,
				Out:  "1 transmitted, 0 received, 100% loss\n",
				Err:  "nlecho: seq=1: the answer was lost: the receive buffer overran\n",
			},
		}, {
			name: "the socket is gone",
			args: "-c 5 hello",
			peer: peer{answer: fails(&client.OpError{Op: "echo", Err: net.ErrClosed})},
			want: clitest.Result{
				Code: 2,
				Out:  "1 transmitted, 0 received, 100% loss\n",
				Err:  "nlecho: seq=1: use of closed network connection\n",
			},
		}, {
			name: "the deadline hits while waiting",
			args: "-w 2.5 -W 10 hello",
			peer: peer{answer: silent(2)},
			want: clitest.Result{
				Code: 1,
				Out:  `5 bytes from kernel: seq=1 port=1234 time=0.041 ms "hello"` + "\n2 transmitted, 1 received, 50% loss, " + rtt,
				Err:  "nlecho: seq=2: interrupted while waiting for the answer\n",
			},
		}, {
			name: "json",
			args: "-o json -c 2 -i 0.5 hello",
			want: clitest.Result{Out: `{"type":"answer","seq":1,"port":1234,"bytes":5,"rtt_ns":41000,"unix_ns":946684800000041000,"text":"hello"}
{"type":"answer","seq":2,"port":1234,"bytes":5,"rtt_ns":41000,"unix_ns":946684800500041000,"text":"hello"}
{"type":"summary","transmitted":2,"received":2,"lost":0,"loss_percent":0,"stale":0,"time_ns":500041000,"rtt_ns":{"min":41000,"avg":41000,"max":41000,"mdev":0}}
`},
		}, {
			name: "json of payloads",
			args: "-o json",
			in:   "<&>\n\xff\n\n",
			want: clitest.Result{Out: `{"type":"answer","seq":1,"port":1234,"bytes":3,"rtt_ns":41000,"unix_ns":946684800000041000,"text":"<&>"}
{"type":"answer","seq":2,"port":1234,"bytes":1,"rtt_ns":41000,"unix_ns":946684800000082000,"base64":"/w=="}
{"type":"answer","seq":3,"port":1234,"bytes":0,"rtt_ns":41000,"unix_ns":946684800000123000,"text":""}
{"type":"summary","transmitted":3,"received":3,"lost":0,"loss_percent":0,"stale":0,"time_ns":123000,"rtt_ns":{"min":41000,"avg":41000,"max":41000,"mdev":0}}
`},
		}, {
			name: "json of a random payload",
			args: "-o json -s 3 -c 1",
			want: clitest.Result{Out: `{"type":"answer","seq":1,"port":1234,"bytes":3,"rtt_ns":41000,"unix_ns":946684800000041000}
{"type":"summary","transmitted":1,"received":1,"lost":0,"loss_percent":0,"stale":0,"time_ns":41000,"rtt_ns":{"min":41000,"avg":41000,"max":41000,"mdev":0}}
`},
		}, {
			name: "json of an operation that is not supported",
			args: "-q -o json hello",
			peer: peer{answer: fails(&client.OpError{Op: "echo", Err: syscall.EOPNOTSUPP})},
			want: clitest.Result{Code: 1, Out: `{"type":"lost","seq":1,"port":1234,"bytes":5,"unix_ns":946684800000000000,"reason":"refused","error":"operation not supported","errno":"EOPNOTSUPP"}
{"type":"summary","transmitted":1,"received":0,"lost":1,"loss_percent":100,"stale":0,"time_ns":0,"rtt_ns":null}
`},
		}, {
			name: "json of losses",
			args: "-q -o json -c 2 hello",
			peer: peer{answer: func(ctx context.Context, n int, payload []byte) ([]byte, error) {
				if n == 1 {
					return nil, eperm
				}
				return silent(2)(ctx, n, payload)
			}},
			want: clitest.Result{Code: 1, Out: `{"type":"lost","seq":1,"port":1234,"bytes":5,"unix_ns":946684800000000000,"reason":"refused","error":"echo: operation not permitted: not today (attribute at offset 20)","errno":"EPERM"}
{"type":"lost","seq":2,"port":1234,"bytes":5,"unix_ns":946684801000000000,"reason":"timeout","error":"no answer within 1s"}
{"type":"summary","transmitted":2,"received":0,"lost":2,"loss_percent":100,"stale":0,"time_ns":2000000000,"rtt_ns":null}
`},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := test.peer
				got := clitest.RunInput(t.Context(), nlecho.CommandWith(p.dial, p.stream), strings.NewReader(test.in), strings.Fields(test.args)...)
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("result (-want +got):\n%s", diff)
				}
				if !p.closed {
					t.Error("the connection was not closed")
				}
			})
		})
	}
}

// A refused datagram is the end of its messages alone, as it is without --batch.
func TestRefused(t *testing.T) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_USERSOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	port := sa.(*unix.SockaddrNetlink).Pid
	check := func(words string) {
		t.Helper()
		want := clitest.Result{Code: 1, Out: "4 transmitted, 0 received, 100% loss\n"}
		for i := range 4 {
			want.Err += fmt.Sprintf("nlecho: seq=%d: %s\n", i+1, words)
		}
		for _, args := range []string{"-i 0", "--batch 2 -i 0", "--batch 3 -i 0", "-f", "-f --batch 3", "-f --batch 5"} {
			args += fmt.Sprintf(" -c 4 --via usersock --to %d hello", port)
			if diff := cmp.Diff(want, clitest.Run(t.Context(), nlecho.Command, strings.Fields(args)...)); diff != "" {
				t.Errorf("%s: (-want +got):\n%s", args, diff)
			}
		}
	}

	for _, size := range []int{4096, 1} { // a small one may have room yet
		for unix.Sendto(fd, make([]byte, size), unix.MSG_DONTWAIT, sa) == nil {
		}
	}
	check(fmt.Sprintf("the receive buffer of port ID %d is full", port))

	// Connected to another, here itself, it is as good as not there.
	if err := unix.Connect(fd, sa); err != nil {
		t.Fatal(err)
	}
	check(fmt.Sprintf("nobody receives at port ID %d on --via usersock; try: nlsub --via usersock --pid %d --reply", port, port))
}

func TestPace(t *testing.T) {
	ms := func(ms ...time.Duration) (d []time.Duration) {
		for _, m := range ms {
			d = append(d, m*time.Millisecond)
		}
		return d
	}
	for _, test := range []struct {
		args   string
		answer func(context.Context, int, []byte) ([]byte, error)
		want   []time.Duration
	}{
		{"-c 3 hello", nil, ms(0, 1000, 2000)},
		{"-c 3 -i 0.2 hello", nil, ms(0, 200, 400)},
		{"-c 3 -i 200ms -s 10", nil, ms(0, 200, 400)},
		{"-w 2.5 hello", nil, ms(0, 1000, 2000)},
		{"-w 0.5 -i 0.2 hello", nil, ms(0, 200, 400)},
		{"-c 2 -w 2.5 hello", nil, ms(0, 1000)},
		{"-c 4 -i 0.5 --batch 2 hello", nil, []time.Duration{0, 41 * time.Microsecond, 500 * time.Millisecond, 500*time.Millisecond + 41*time.Microsecond}},
		{"-c 3 -W 3 hello", silent(1), ms(0, 3000, 4000)}, // late once, on time again
	} {
		t.Run(test.args, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := peer{answer: test.answer}
				clitest.Run(t.Context(), nlecho.CommandWith(p.dial, p.stream), strings.Fields("-q "+test.args)...)
				if diff := cmp.Diff(test.want, p.times); diff != "" {
					t.Errorf("times (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestFloodDoesNotPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := peer{}
		clitest.Run(t.Context(), nlecho.CommandWith(p.dial, p.stream), "-f", "-c", "3", "hello")
		if got, want := p.times[2], 82*time.Microsecond; got != want {
			t.Errorf("the third message was sent after %v, want %v", got, want)
		}
	})
}

func TestPayloads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := peer{}
		clitest.Run(t.Context(), nlecho.CommandWith(p.dial), "-s", "32768", "-c", "2", "-i", "0")
		if len(p.sent) != 2 || len(p.sent[0]) != 32768 || p.sent[0] == p.sent[1] {
			t.Error("random payloads are not two different ones of 32768 bytes")
		}

		p = peer{}
		clitest.Run(t.Context(), nlecho.CommandWith(p.dial), "")
		if diff := cmp.Diff([]string{""}, p.sent); diff != "" {
			t.Errorf("sent (-want +got):\n%s", diff)
		}

		p = peer{}
		clitest.Run(t.Context(), nlecho.CommandWith(p.dial), "--", "completion")
		if diff := cmp.Diff([]string{"completion"}, p.sent); diff != "" {
			t.Errorf("sent (-want +got):\n%s", diff)
		}
	})
}

func TestInterrupt(t *testing.T) {
	t.Run("between messages", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
			defer cancel()
			p := peer{}
			got := clitest.Run(ctx, nlecho.CommandWith(p.dial), "-q", "-i", "1", "hello")
			want := clitest.Result{Out: "2 transmitted, 2 received, 0% loss, rtt min/avg/max/mdev = 0.041/0.041/0.041/0.000 ms\n"}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
		})
	})
	t.Run("while reading", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			r, w := io.Pipe()
			defer w.Close()
			go io.WriteString(w, "1\n2\n")
			p := peer{}
			got := clitest.RunInput(ctx, nlecho.CommandWith(p.dial), r, "-q")
			want := clitest.Result{Out: "2 transmitted, 2 received, 0% loss, rtt min/avg/max/mdev = 0.041/0.041/0.041/0.000 ms\n"}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
		})
	})
}

// A file that takes so many writes.
type file struct {
	bytes.Buffer
	room int
	err  error
}

func (f *file) Write(p []byte) (int, error) {
	if f.room == 0 {
		return 0, &os.PathError{Op: "write", Path: "/dev/stdout", Err: f.err}
	}
	f.room--
	return f.Buffer.Write(p)
}

func TestOutputEnds(t *testing.T) {
	for _, test := range []struct {
		err  syscall.Errno
		want clitest.Result
	}{
		{syscall.ENOSPC, clitest.Result{
			Code: cli.ExitError,
			Err:  "3 transmitted, 3 received, 0% loss, rtt min/avg/max/mdev = 0.041/0.041/0.041/0.000 ms\nnlecho: writing standard output: no space left on device\n",
		}},
		{syscall.EPIPE, clitest.Result{Code: cli.ExitPipe}},
	} {
		t.Run(test.err.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				out, errs := &file{room: 2, err: test.err}, new(bytes.Buffer)
				p := peer{}
				code := cli.Run(t.Context(), nlecho.CommandWith(p.dial), cli.NewStreams(strings.NewReader(""), out, errs), []string{"-i", "1", "hello"})
				if strings.Count(out.String(), "\n") != 2 {
					t.Errorf("wrote %q, want two lines", out)
				}
				if diff := cmp.Diff(test.want, clitest.Result{Code: code, Err: errs.String()}); diff != "" {
					t.Errorf("result (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestConfig(t *testing.T) {
	for args, want := range map[string]client.Config{
		"":                          {},
		"--via raw --protocol 30":   {Protocol: 30},
		"--via genl --ack":          {Carrier: client.Generic, Acknowledge: true},
		"--to 7":                    {To: 7},
		"--via usersock --to -4097": {Carrier: client.UserSock, To: 1<<32 - 4097},
		"--pid 4242":                {PortID: 4242},
		"--pid auto":                {},
		"--pid getpid":              {PortID: uint32(os.Getpid())},
		"--pid 4294967295 -o json ": {PortID: 4294967295},
	} {
		t.Run(args, func(t *testing.T) {
			p := peer{}
			clitest.Run(t.Context(), nlecho.CommandWith(p.dial), append(strings.Fields(args), "hello")...)
			if diff := cmp.Diff(want, p.cfg); diff != "" {
				t.Errorf("configuration (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("--pid thread", func(t *testing.T) {
		p := peer{}
		clitest.Run(t.Context(), nlecho.CommandWith(p.dial), "--pid", "thread", "hello")
		if pid := uint32(os.Getpid()); p.cfg.PortID&pid != pid || p.cfg.PortID>>16 == 0 {
			t.Errorf("port ID %#x of process %#x", p.cfg.PortID, pid)
		}
	})
	t.Run("--netns", func(t *testing.T) {
		p := peer{}
		clitest.Run(t.Context(), nlecho.CommandWith(p.dial), "-n", "/proc/self/ns/net", "hello")
		if p.cfg.NetNS == 0 {
			t.Error("no namespace was opened")
		}
	})
}

func TestUsage(t *testing.T) {
	long := strings.Repeat("x", 32769)
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"a", "b"}, "takes one MESSAGE, but there are 2 arguments; quote a message that has spaces"},
		{[]string{"--to", "-2147483649"}, `invalid argument "-2147483649" for "--to" flag: must be a port ID, 0 to 4294967295; 0 is the kernel`},
		{[]string{"--to", "x"}, `invalid argument "x" for "--to" flag: must be a port ID, 0 to 4294967295; 0 is the kernel`},
		{[]string{"--via", "genl", "--to", "5", "hello"}, "--to is for --via raw and usersock; generic netlink is the kernel's"},
		{[]string{"--via", "usersock", "hello"}, "--via usersock needs --to PORTID, a process that answers, such as: nlsub --via usersock --pid 1000 --reply; or -g for groups"},
		{[]string{"--via", "usersock", "--to", "5", "--protocol", "30", "hello"}, "--protocol is for --via raw; usersock has a number of its own"},
		{[]string{"--to", "5", "--ack", "hello"}, "--ack is for the kernel; a process acknowledges nothing"},
		{[]string{"-g", "1", "hello"}, "-g is for --via usersock; what the kernel's groups hear is the kernel's, see nlctl beacon"},
		{[]string{"--via", "usersock", "-g", "1", "--to", "5", "hello"}, "-g and --to contradict each other: a message goes to groups, or to one process"},
		{[]string{"--via", "usersock", "-g", "0", "hello"}, `-g: group "0" is out of range; must be 1 to 32`},
		{[]string{"--via", "usersock", "-g", "1", "-W", "1", "hello"}, "--ack and -W mean nothing with -g: there is no answer to wait for"},
		{[]string{"-y"}, "unknown shorthand flag: 'y' in -y"},
		{[]string{"-c"}, "flag needs an argument: 'c' in -c"},
		{[]string{"-c", "0"}, `invalid argument "0" for "-c, --count" flag: must be a whole number, 1 or more`},
		{[]string{"-c", "-5"}, `invalid argument "-5" for "-c, --count" flag: must be a whole number, 1 or more`},
		{[]string{"-i", "-1"}, `invalid argument "-1" for "-i, --interval" flag: must be 0s to 10000h`},
		{[]string{"-i", "x"}, `invalid argument "x" for "-i, --interval" flag: must be seconds, such as 2 or 0.5, or a duration, such as 500ms or 1m30s`},
		{[]string{"-w", "0"}, `invalid argument "0" for "-w, --deadline" flag: must be 1ms to 10000h`},
		{[]string{"-W", "0"}, `invalid argument "0" for "-W, --timeout" flag: must be 1ms to 10000h`},
		{[]string{"-s", "40000"}, `invalid argument "40000" for "-s, --size" flag: must be 0 to 32768 bytes`},
		{[]string{"-s", "-1"}, `invalid argument "-1" for "-s, --size" flag: must be a number of bytes, such as 4096, 64K or 1M`},
		{[]string{long}, "MESSAGE has 32769 bytes; the limit is 32768"},
		{[]string{"-s", "5", "hello"}, "MESSAGE and -s contradict each other: -s sends a random payload"},
		{[]string{"-f", "-i", "1", "hello"}, "-f and -i contradict each other: -f waits for nothing; leave one out"},
		{[]string{"--batch", "0", "hello"}, `invalid argument "0" for "--batch" flag: must be a number of messages, 1 to 4096`},
		{[]string{"--batch", "4097", "hello"}, `invalid argument "4097" for "--batch" flag: must be a number of messages, 1 to 4096`},
		{[]string{"--via", "usersock", "-g", "1", "--batch", "2", "hi"}, "--batch means nothing with -g: each message goes to each group by itself"},
		{[]string{"--via", "tcp"}, `invalid argument "tcp" for "--via" flag: there is no such carrier; known are: raw, genl, connector, rtnl, usersock`},
		{[]string{"--via", "connector", "--ack", "hi"}, "--ack is for other carriers; the connector acknowledges nothing"},
		{[]string{"--via", "connector", "-s", "16365"}, "-s is 16365 bytes; the limit of --via connector is 16364"},
		{[]string{"--via", "connector", strings.Repeat("x", 16365)}, "MESSAGE has 16365 bytes; the limit is 16364"},
		{[]string{"--via", "connector", "--protocol", "30", "hi"}, "--protocol is for --via raw; connector has a number of its own"},
		{[]string{"--via", "rtnl", "--to", "30", "hi"}, "--to is for --via raw and usersock; rtnetlink is the kernel's"},
		{[]string{"--protocol", "16"}, `invalid argument "16" for "--protocol" flag: the module's protocol is a number from 23 to 31`},
		{[]string{"--protocol", "32"}, `invalid argument "32" for "--protocol" flag: the module's protocol is a number from 23 to 31`},
		{[]string{"--via", "genl", "--protocol", "30", "hello"}, "--protocol is for --via raw; generic netlink finds the family by its name"},
		{[]string{"--pid", "0"}, `invalid argument "0" for "--pid" flag: must be auto, getpid, thread, or a number from 1 to 4294967295`},
		{[]string{"--pid", "4294967296"}, `invalid argument "4294967296" for "--pid" flag: must be auto, getpid, thread, or a number from 1 to 4294967295`},
		{[]string{"-o", "xml"}, `invalid argument "xml" for "-o, --output" flag: must be text or json`},
		{[]string{"-n", ""}, `invalid argument "" for "-n, --netns" flag: must be a name or a path`},
	} {
		t.Run(fmt.Sprintf("%.40s", strings.Join(test.args, " ")), func(t *testing.T) {
			got := clitest.Run(t.Context(), nlecho.Command, test.args...)
			want := clitest.Result{Code: cli.ExitError, Err: "nlecho: " + test.want + "\nTry 'nlecho --help' for more information.\n"}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSetUpErrors(t *testing.T) {
	dial := func(err error) func(context.Context, client.Config) (nlecho.Echoer, error) {
		return func(context.Context, client.Config) (nlecho.Echoer, error) { return nil, err }
	}
	for _, test := range []struct {
		args string
		err  error
		want string
	}{
		{"", client.ErrNotLoaded, "the nlpeer module is not loaded (protocol 31 is unknown to this kernel); try: sudo insmod nlpeer.ko, or: make demo"},
		{"--protocol 30", client.ErrNotLoaded, "the nlpeer module is not loaded (protocol 30 is unknown to this kernel); try: sudo insmod nlpeer.ko, or: make demo"},
		{"--via genl", client.ErrNotLoaded, "the nlpeer module is not loaded (family nlpeer is unknown to this kernel); try: sudo insmod nlpeer.ko, or: make demo"},
		{"--pid 77", &client.OpError{Op: "dial", Err: syscall.EADDRINUSE}, "port ID 77 (--pid 77) is in use by another socket; try: --pid auto"},
		{"-n /proc/self/ns/net", &client.OpError{Op: "dial", Err: syscall.EPERM}, "entering network namespace /proc/self/ns/net needs CAP_SYS_ADMIN; try with sudo"},
		{"-n /dev/null", &client.OpError{Op: "dial", Err: syscall.EINVAL}, "/dev/null is not a network namespace"},
		{"-n /nonexistent/netns", nil, "network namespace /nonexistent/netns: no such file or directory"},
		{"", &client.OpError{Op: "dial", Err: syscall.EMFILE}, "dial: too many open files"},
		{"", errors.New("something else"), "something else"},
	} {
		t.Run(test.want, func(t *testing.T) {
			got := clitest.Run(t.Context(), nlecho.CommandWith(dial(test.err)), append(strings.Fields(test.args), "hello")...)
			want := clitest.Result{Code: cli.ExitError, Err: "nlecho: " + test.want + "\n"}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
		})
	}
}

// The words that the README promises, from a kernel that really is without.
func TestNotLoaded(t *testing.T) {
	clitest.NeedNoModule(t)
	for via, what := range map[string]string{"raw": "protocol 31", "genl": "family nlpeer"} {
		got := clitest.Run(t.Context(), nlecho.Command, "--via", via, "hello")
		want := clitest.Result{Code: cli.ExitError, Err: "nlecho: the nlpeer module is not loaded (" + what + " is unknown to this kernel); try: sudo insmod nlpeer.ko, or: make demo\n"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("--via %s: result (-want +got):\n%s", via, diff)
		}
	}
}

func TestReadError(t *testing.T) {
	p := peer{}
	got := clitest.RunInput(t.Context(), nlecho.CommandWith(p.dial), iotest.ErrReader(&os.PathError{Op: "read", Path: "/dev/stdin", Err: syscall.EISDIR}))
	want := clitest.Result{Code: cli.ExitError, Out: "0 transmitted, 0 received, 0% loss\n", Err: "nlecho: standard input: line 1: is a directory\n"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
}

func TestCompletion(t *testing.T) {
	for args, want := range map[string][]string{
		"--via":  {"raw", "genl", "connector", "rtnl", "usersock"},
		"-o":     {"text", "json"},
		"--pid":  {"auto", "getpid", "thread"},
		"-c":     {},
		"-s 5 -": nil, // checked below
	} {
		fields := strings.Fields(args)
		if want == nil {
			if got := clitest.Complete(t, nlecho.Command, "-"); len(got) < 15 {
				t.Errorf("flags that are proposed: %q", got)
			}
			continue
		}
		if diff := cmp.Diff(want, clitest.Complete(t, nlecho.Command, append(fields, "")...)); diff != "" {
			t.Errorf("%s: proposed (-want +got):\n%s", args, diff)
		}
	}
}

func TestPercent(t *testing.T) {
	for loss, want := range map[float64]string{
		0: "0", 100: "100", 50: "50", 100.0 / 3: "33.3", 0.1: "0.1", 0.01: "0.01", 99.99: "99.99", 1e-5: "0.00001",
	} {
		if got := nlecho.Percent(loss); got != want {
			t.Errorf("%v%% is written %q, want %q", loss, got, want)
		}
	}
}
