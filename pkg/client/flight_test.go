// SPDX-License-Identifier: MIT

package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nlpeer/pkg/client"
	"nlpeer/pkg/wire"
)

// requests receives datagrams until they have held n requests.
func (u *user) requests(n int) (all []wire.Message, from uint32) {
	u.t.Helper()
	for len(all) < n {
		var more []wire.Message
		more, from = u.received()
		all = append(all, more...)
	}
	if len(all) != n {
		u.t.Fatalf("%d requests, want %d", len(all), n)
	}
	return all, from
}

// received returns the requests of the next datagram.
func (u *user) received() (all []wire.Message, from uint32) {
	u.t.Helper()
	b := make([]byte, 256<<10)
	l, sa, err := u.recv(b)
	if err != nil {
		u.t.Fatal(err)
	}
	for m, err := range wire.Messages(b[:l]) {
		if err != nil {
			u.t.Fatalf("request: %v", err)
		}
		all = append(all, m)
	}
	return all, sa.(*unix.SockaddrNetlink).Pid
}

// drain empties the receive buffer.
func (u *user) drain() {
	for b := make([]byte, 4096); ; {
		if _, _, err := unix.Recvfrom(u.fd, b, unix.MSG_DONTWAIT); err == unix.EAGAIN {
			return
		}
	}
}

// startBatch carries a batch in the background and returns its requests.
func startBatch(t *testing.T, ctx context.Context, c *client.Conn, u *user, b *client.Batch, sent int) (<-chan result[[]got], []wire.Message, uint32) {
	t.Helper()
	done := async(func() ([]got, error) { return do(ctx, c, b) })
	m, from := u.requests(sent)
	return done, m, from
}

func echoBatch(c *client.Conn, n int) *client.Batch {
	b := c.NewBatch()
	for i := range n {
		b.Echo([]byte(fmt.Sprint(i)))
	}
	return b
}

// answers of a process come in whatever order it likes, packed or not.
func TestBatchOrder(t *testing.T) {
	c, u := dialUser(t, client.Config{})
	b := echoBatch(c, 5)
	done, m, from := startBatch(t, background(t), c, u, b, 5)
	a := func(i int) []byte { return answer(m[i], from, m[i].Body) }
	u.send(from, append(a(3), a(1)...))
	u.send(from, a(4))
	u.send(from, append(append(a(0), a(3)...), a(2)...)) // 3 twice
	answers, err := await(t, done)
	if err != nil {
		t.Fatal(err)
	}
	var want []got
	for _, i := range []int{3, 1, 4, 0, 2} {
		want = append(want, got{i, fmt.Sprint(i), nil})
	}
	diffAnswers(t, want, answers)
	diff(t, client.Counters{Stale: 1}, c.Counters())
	if sent, received := b.Datagrams(); sent != 1 || received != 3 {
		t.Errorf("%d datagrams sent, %d received", sent, received)
	}
}

// One request that fails, in any way, takes none with it.
func TestBatchErrors(t *testing.T) {
	c, u := dialUser(t, client.Config{})
	b := c.NewBatch()
	b.Echo(make([]byte, wire.PayloadMax+1))
	for range 4 {
		b.Echo([]byte("x"))
	}
	b.Get("a\x00b")
	b.Echo([]byte("last"))
	b.Echo(make([]byte, wire.PayloadMax+1))
	done, m, from := startBatch(t, background(t), c, u, b, 5)
	other := m[1]
	other.Type = 99
	success := ack(m[3], from, 0, nil)
	u.send(from, answer(m[0], from, m[0].Body))
	u.send(from, append(answer(other, from, nil), ack(m[2], from, syscall.EPERM, nil)...))
	u.send(from, append(answer(m[3], from+1, nil), success...)) // a foreign one, and one not asked for
	u.send(from, append(answer(m[3], from, m[3].Body), answer(m[4], from, m[4].Body)...))
	answers, err := await(t, done)
	if err != nil {
		t.Fatal(err)
	}
	diffAnswers(t, []got{
		{0, "", syscall.EMSGSIZE},
		{1, "x", nil},
		{2, "", syscall.EBADMSG},
		{3, "", syscall.EPERM},
		{4, "x", nil},
		{5, "", syscall.EINVAL},
		{6, "last", nil},
		{7, "", syscall.EMSGSIZE},
	}, answers)
	for _, a := range answers {
		if a.err != nil {
			wantError(t, a.err)
		}
	}
	diff(t, client.Counters{Foreign: 1}, c.Counters())
}

// Answers that others made the kernel drop are lost, not waited for; those that
// were there before come through.
func TestBatchOverrun(t *testing.T) {
	reading, full := make(chan struct{}), make(chan struct{})
	c, u := dialUser(t, client.Config{ReceiveBuffer: 4096, Tap: func(d client.Crossing) {
		if !d.Sent && reading != nil {
			close(reading)
			<-full
			reading = nil
		}
	}})
	needs(t, "root, to join groups of NETLINK_USERSOCK", unix.SetsockoptInt(c.FD(), unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, 1))
	done, m, from := startBatch(t, background(t), c, u, echoBatch(c, 5), 5)
	u.send(from, append(answer(m[0], from, m[0].Body), answer(m[2], from, m[2].Body)...))
	<-reading
	junk := wire.AppendMessage(nil, wire.Header{Type: 99, PortID: from + 1}, make([]byte, 1000))
	for range 100 {
		u.multicast(1, junk)
	}
	if err := u.trySend(from, answer(m[1], from, m[1].Body)); err != syscall.EAGAIN {
		t.Fatalf("there is room for an answer: %v", err)
	}
	close(full)
	answers, err := await(t, done)
	if err != nil {
		t.Fatal(err)
	}
	lost := syscall.ENOBUFS
	diffAnswers(t, []got{{0, "0", nil}, {2, "2", nil}, {1, "", lost}, {3, "", lost}, {4, "", lost}}, answers)
	var overrun *client.OverrunError
	if !errors.As(answers[2].err, &overrun) || overrun.Op != "echo" || overrun.Count != 1 {
		t.Errorf("error %v", answers[2].err)
	}
	if n := c.Counters(); n.Overruns != 1 || n.Stale != 0 || n.Foreign == 0 {
		t.Errorf("counters %+v", n)
	}

	done, m, from = startBatch(t, background(t), c, u, echoBatch(c, 1), 1)
	u.send(from, answer(m[0], from, m[0].Body))
	if _, err := await(t, done); err != nil {
		t.Fatal(err)
	}
}

// A Do that is given up leaves a Conn that works, and what was told of stays.
func TestBatchGivenUp(t *testing.T) {
	for name, test := range map[string]struct {
		cfg  client.Config
		ctx  func(t *testing.T) (context.Context, context.CancelFunc)
		want error
	}{
		"cancelled": {client.Config{}, func(t *testing.T) (context.Context, context.CancelFunc) {
			return context.WithCancel(background(t))
		}, context.Canceled},
		"timeout": {client.Config{Timeout: 20 * time.Millisecond}, func(*testing.T) (context.Context, context.CancelFunc) {
			return context.Background(), func() {}
		}, os.ErrDeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			c, u := dialUser(t, test.cfg)
			ctx, cancel := test.ctx(t)
			defer cancel()
			told := make(chan int, 10)
			b := echoBatch(c, 3)
			done := async(func() (struct{}, error) {
				return struct{}{}, c.Do(ctx, b, func(a client.Answer) { told <- a.Index })
			})
			m, from := u.requests(3)
			u.send(from, answer(m[1], from, m[1].Body))
			if name == "cancelled" {
				if i := <-told; i != 1 {
					t.Errorf("answer %d", i)
				}
				cancel()
			}
			_, err := await(t, done)
			wantError(t, err, test.want)
			u.send(from, answer(m[0], from, m[0].Body)) // late

			b2 := echoBatch(c, 2)
			next := async(func() ([]got, error) { return do(background(t), c, b2) })
			m, from = u.requests(2)
			u.send(from, append(answer(m[0], from, m[0].Body), answer(m[1], from, m[1].Body)...))
			answers, err := await(t, next)
			if err != nil {
				t.Fatal(err)
			}
			diffAnswers(t, []got{{0, "0", nil}, {1, "1", nil}}, answers)
			diff(t, client.Counters{Stale: 1}, c.Counters())
		})
	}
}

func TestBatchMisuse(t *testing.T) {
	c, other := dialSelf(t, client.Config{}), dialSelf(t, client.Config{})
	never := func(a client.Answer) { t.Errorf("an answer: %+v", a) }
	wantError(t, c.Do(background(t), other.NewBatch(), never), syscall.EINVAL)
	b := echoBatch(c, 3)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	wantError(t, c.Do(background(t), b, never), net.ErrClosed)

	c, u := dialUser(t, client.Config{})
	done, _, _ := startBatch(t, background(t), c, u, echoBatch(c, 3), 3)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := await(t, done)
	wantError(t, err, net.ErrClosed)
}

// What makes no sense ends Do and not the Conn.
func TestBatchNonsense(t *testing.T) {
	c, u := dialUser(t, client.Config{})
	for _, nonsense := range [][]byte{{1, 2, 3}, {15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, make([]byte, 200<<10)} {
		done, _, from := startBatch(t, background(t), c, u, echoBatch(c, 2), 2)
		u.send(from, nonsense)
		_, err := await(t, done)
		wantError(t, err)
	}
	done, m, from := startBatch(t, background(t), c, u, echoBatch(c, 1), 1)
	u.send(from, answer(m[0], from, m[0].Body))
	if _, err := await(t, done); err != nil {
		t.Fatal(err)
	}
}

// A payload that no datagram can hold is its own error, as is a request.
func TestBatchSendBuffer(t *testing.T) {
	c := dialSelf(t, client.Config{})
	c.SetMost(1000)
	b := c.NewBatch()
	var want []got
	for i := range 100 {
		payload := make([]byte, 3*(i%5)*100)
		b.Echo(payload)
		w := got{index: i, payload: string(payload)}
		if i%5 == 4 {
			w = got{i, "", syscall.EMSGSIZE}
		}
		want = append(want, w)
	}
	answers, err := do(background(t), c, b)
	if err != nil {
		t.Fatal(err)
	}
	diffAnswers(t, want, answers)
	_, err = c.Echo(background(t), make([]byte, 1200))
	wantError(t, err, syscall.EMSGSIZE)
}

// An answer that does not come holds up nobody: neither those that are sent
// after it nor, when its time is over, who drains.
func TestPipelineSlowAnswer(t *testing.T) {
	u := newUser(t)
	var answers []got
	p, err := client.PipelineUser(background(t), client.Config{Timeout: 20 * time.Millisecond}, client.PipelineConfig{
		Batch:  2,
		Answer: func(a client.Answer) { answers = append(answers, got{a.Index, string(a.Payload), a.Err}) },
	}, u.port)
	needs(t, "NETLINK_USERSOCK", err)
	defer p.Close()
	var want []got
	for i := range 100 {
		if err := p.Echo(background(t), []byte(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			continue
		}
		m, from := u.requests(2)
		if i > 1 { // the first has none
			u.send(from, answer(m[0], from, m[0].Body))
			want = append(want, got{i - 1, fmt.Sprint(i - 1), nil})
		}
		u.send(from, answer(m[1], from, m[1].Body))
		want = append(want, got{i, fmt.Sprint(i), nil})
	}
	if err := p.Drain(background(t)); err != nil {
		t.Fatal(err)
	}
	want = append(want, got{0, "", os.ErrDeadlineExceeded})
	diffAnswers(t, want, answers)
	n := p.Counters()
	if n.Requests != 100 || n.Answers != 100 || n.Failed != 1 || n.Sent != 50 {
		t.Errorf("counters %+v", n)
	}
}

// A pipeline whose peer does not answer waits when there is no room for more
// answers, and no longer than the context lasts.
func TestPipelineFull(t *testing.T) {
	u := newUser(t)
	p, err := client.PipelineUser(background(t), client.Config{ReceiveBuffer: 10000}, client.PipelineConfig{
		Batch: 1, Answer: func(a client.Answer) { t.Errorf("an answer: %+v", a) },
	}, u.port)
	needs(t, "NETLINK_USERSOCK", err)
	defer p.Close()
	ctx, cancel := context.WithTimeout(background(t), 50*time.Millisecond)
	defer cancel()
	n := 0
	for ; err == nil; n++ {
		err = p.Echo(ctx, make([]byte, 64))
	}
	wantError(t, err, context.DeadlineExceeded)
	if n < 2 || n > 30 {
		t.Errorf("%d requests on their way", n)
	}
	done := async(func() (struct{}, error) { return struct{}{}, p.Drain(context.Background()) })
	eventually(t, "Drain waits", func() bool { return p.Waiting() == 1 })
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = await(t, done)
	wantError(t, err, net.ErrClosed)
	wantError(t, p.Flush(background(t)), net.ErrClosed)
}

// pipelineUser returns a Pipeline whose peer the test plays, and what its requests
// came to.
func pipelineUser(t *testing.T, cfg client.Config, pc client.PipelineConfig, port uint32) (*client.Pipeline, *[]got) {
	t.Helper()
	answers := new([]got)
	pc.Answer = func(a client.Answer) {
		*answers = append(*answers, got{a.Index, string(a.Payload), a.Err})
	}
	p, err := client.PipelineUser(background(t), cfg, pc, port)
	needs(t, "NETLINK_USERSOCK", err)
	t.Cleanup(func() { p.Close() })
	return p, answers
}

func echoAll(t *testing.T, p *client.Pipeline, payloads ...string) {
	t.Helper()
	for _, payload := range payloads {
		if err := p.Echo(background(t), []byte(payload)); err != nil {
			t.Fatal(err)
		}
	}
}

// Requests that are made after the end of a context go into datagrams like others.
func TestPipelineBatchAfterTheEnd(t *testing.T) {
	u := newUser(t)
	var sent []int
	p, answers := pipelineUser(t, client.Config{}, client.PipelineConfig{Batch: 2, Sending: func(_, n int) { sent = append(sent, n) }}, u.port)
	ctx, cancel := context.WithCancel(background(t))
	cancel()
	var want []got
	for i, failed := range []bool{false, true, false, true, false} {
		payload := strconv.Itoa(i)
		want = append(want, got{i, payload, nil})
		if err := p.Echo(ctx, []byte(payload)); failed {
			wantError(t, err, context.Canceled)
		} else if err != nil {
			t.Error(err)
		}
	}
	wantError(t, p.Flush(ctx), context.Canceled)
	diff(t, client.PipelineCounters{Requests: 4}, p.Counters())
	if err := p.Flush(background(t)); err != nil {
		t.Fatal(err)
	}
	diff(t, []int{2, 2, 1}, sent)
	m, from := u.requests(5)
	for _, m := range m {
		u.send(from, answer(m, from, m.Body))
	}
	if err := p.Drain(background(t)); err != nil {
		t.Fatal(err)
	}
	diffAnswers(t, want, *answers)
}

// An answer to what was given up is late, whoever else waits by then.
func TestPipelineLateAnswer(t *testing.T) {
	u := newUser(t)
	p, answers := pipelineUser(t, client.Config{Timeout: 20 * time.Millisecond}, client.PipelineConfig{Batch: 2}, u.port)
	echoAll(t, p, "0", "1")
	late, from := u.requests(2)
	if err := p.Drain(background(t)); err != nil {
		t.Fatal(err)
	}
	echoAll(t, p, "2", "3")
	m, _ := u.requests(2)
	u.send(from, append(answer(late[0], from, late[0].Body), answer(m[0], from, m[0].Body)...))
	u.send(from, answer(late[1], from, late[1].Body))
	u.send(from, answer(m[1], from, m[1].Body))
	if err := p.Drain(background(t)); err != nil {
		t.Fatal(err)
	}
	diffAnswers(t, []got{{0, "", os.ErrDeadlineExceeded}, {1, "", os.ErrDeadlineExceeded}, {2, "2", nil}, {3, "3", nil}}, *answers)
	diff(t, client.PipelineCounters{Requests: 4, Answers: 4, Failed: 2, Sent: 2, Received: 2, Stale: 2}, p.Counters())
}

// The time of a batch begins anew with each of its answers.
func TestPipelineTimeoutOfSteadyAnswers(t *testing.T) {
	u := newUser(t)
	p, answers := pipelineUser(t, client.Config{Timeout: patience}, client.PipelineConfig{Batch: 3}, u.port)
	echoAll(t, p, "0", "1", "2")
	m, from := u.requests(3)
	for _, i := range []int{1, 0} {
		drainInVain(t, p)
		p.Expire()
		u.send(from, answer(m[i], from, m[i].Body))
	}
	drainInVain(t, p)
	diffAnswers(t, []got{{1, "1", nil}, {0, "0", nil}}, *answers)
	p.Expire()
	if err := p.Drain(background(t)); err != nil {
		t.Fatal(err)
	}
	diffAnswers(t, []got{{1, "1", nil}, {0, "0", nil}, {2, "", os.ErrDeadlineExceeded}}, *answers)
}

// drainInVain waits for answers that do not come.
func drainInVain(t *testing.T, p *client.Pipeline) {
	t.Helper()
	ctx, cancel := context.WithTimeout(background(t), 20*time.Millisecond)
	defer cancel()
	wantError(t, p.Drain(ctx), context.DeadlineExceeded)
}

// What is sent when the first requests of a batch were given up has its own time.
func TestPipelineTimeoutOfTheRest(t *testing.T) {
	const n = 8
	u := newUser(t)
	p, answers := pipelineUser(t, client.Config{Timeout: patience, ReceiveBuffer: 2304}, client.PipelineConfig{Batch: n + 1}, u.port)
	for i := range n {
		echoAll(t, p, fmt.Sprint(i))
	}
	drainInVain(t, p)
	m, from := u.received()
	if len(m) == n {
		t.Fatal("all went in one datagram")
	}
	var want []got
	for i := range m {
		want = append(want, got{i, "", os.ErrDeadlineExceeded})
	}
	p.Expire()
	done := async(func() (struct{}, error) { return struct{}{}, p.Drain(background(t)) })
	for len(want) < n {
		m, _ = u.received()
		for _, m := range m {
			want = append(want, got{len(want), string(m.Body), nil})
			u.send(from, answer(m, from, m.Body))
		}
	}
	if _, err := await(t, done); err != nil {
		t.Fatal(err)
	}
	diffAnswers(t, want, *answers)
}

// What the kernel refuses to carry is the end of these requests and of no others,
// and is not sent again.
func TestPipelineRefused(t *testing.T) {
	t.Run("nobody is there", func(t *testing.T) {
		u := newUser(t)
		if err := unix.Connect(u.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: u.port}); err != nil {
			t.Fatal(err)
		}
		p, answers := pipelineUser(t, client.Config{}, client.PipelineConfig{Batch: 2}, u.port)
		echoAll(t, p, "0", string(make([]byte, wire.PayloadMax+1)), "2")
		if err := p.Drain(background(t)); err != nil {
			t.Fatal(err)
		}
		diffAnswers(t, []got{{0, "", syscall.ECONNREFUSED}, {1, "", syscall.EMSGSIZE}, {2, "", syscall.ECONNREFUSED}}, *answers)
		for _, a := range *answers {
			wantError(t, a.err)
		}
		diff(t, client.PipelineCounters{Requests: 3, Answers: 3, Failed: 3}, p.Counters())
	})
	t.Run("no room", func(t *testing.T) {
		u, other := newUser(t), newUser(t)
		for _, size := range []int{1000, 1} { // a small one may have room yet
			for other.trySend(u.port, make([]byte, size)) == nil {
			}
		}
		sendings := 0
		p, answers := pipelineUser(t, client.Config{}, client.PipelineConfig{
			Batch: 2, Sending: func(_, n int) { sendings += n },
		}, u.port)
		echoAll(t, p, "0", "1")
		u.drain()
		echoAll(t, p, "2", "3")
		m, from := u.requests(2)
		u.send(from, append(answer(m[0], from, m[0].Body), answer(m[1], from, m[1].Body)...))
		if err := p.Drain(background(t)); err != nil {
			t.Fatal(err)
		}
		diffAnswers(t, []got{{0, "", syscall.EAGAIN}, {1, "", syscall.EAGAIN}, {2, "2", nil}, {3, "3", nil}}, *answers)
		diff(t, 4, sendings)
		diff(t, client.PipelineCounters{Requests: 4, Answers: 4, Failed: 2, Sent: 1, Received: 1}, p.Counters())
	})
}

func TestPipelineMisuse(t *testing.T) {
	_, err := client.DialPipeline(background(t), client.Config{}, client.PipelineConfig{})
	wantError(t, err, syscall.EINVAL)
	_, err = client.DialPipeline(background(t), client.Config{}, client.PipelineConfig{Answer: func(client.Answer) {}, Batch: -1})
	wantError(t, err, syscall.EINVAL)
}

func TestBatchAllocations(t *testing.T) {
	c := dialSelf(t, client.Config{})
	b := c.NewBatch()
	payload := make([]byte, 300)
	take := func(a client.Answer) {
		if a.Err != nil || len(a.Payload) != 300 {
			t.Fatal(a.Err)
		}
	}
	if n := testing.AllocsPerRun(20, func() {
		b.Reset()
		for range 500 {
			b.Echo(payload)
		}
		if err := c.Do(context.Background(), b, take); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Who stops asking has the answers that are there: a context that ends when a
// request has left ends nothing that came of it, and nothing more is sent.
func TestAnswersAreTakenAfterTheEnd(t *testing.T) {
	t.Run("batch", func(t *testing.T) {
		ctx, cancel := context.WithCancel(background(t))
		c := dialSelf(t, client.Config{Tap: func(d client.Crossing) {
			if d.Sent {
				cancel()
			}
		}})
		answers, err := do(ctx, c, echoBatch(c, 2))
		if err != nil {
			t.Error(err)
		}
		diffAnswers(t, []got{{0, "0", nil}, {1, "1", nil}}, answers)
	})
	t.Run("batch of several datagrams", func(t *testing.T) {
		ctx, cancel := context.WithCancel(background(t))
		c := dialSelf(t, client.Config{Tap: func(d client.Crossing) {
			if d.Sent {
				cancel()
			}
		}})
		c.SetMost(50)
		b := echoBatch(c, 4)
		answers, err := do(ctx, c, b)
		wantError(t, err, context.Canceled)
		diffAnswers(t, []got{{0, "0", nil}, {1, "1", nil}}, answers)
		if sent, received := b.Datagrams(); sent != 1 || received != 1 {
			t.Errorf("%d datagrams sent, %d received", sent, received)
		}
		if answers, err = do(background(t), c, b); err != nil || len(answers) != 4 || c.Counters() != (client.Counters{}) {
			t.Errorf("the next Do: %v, %v, %+v", answers, err, c.Counters())
		}
	})
	t.Run("pipeline", func(t *testing.T) {
		ctx, cancel := context.WithCancel(background(t))
		p, answers := pipelineUser(t, client.Config{}, client.PipelineConfig{Batch: 2, Sending: func(int, int) { cancel() }}, 0)
		echoAll(t, p, "0")
		if err := p.Echo(ctx, []byte("1")); err != nil {
			t.Error(err)
		}
		diffAnswers(t, []got{{0, "0", nil}, {1, "1", nil}}, *answers)
		wantError(t, p.Drain(ctx), context.Canceled)
	})
	t.Run("pipeline to a process", func(t *testing.T) {
		u := newUser(t)
		p, answers := pipelineUser(t, client.Config{}, client.PipelineConfig{Batch: 1}, u.port)
		echoAll(t, p, "0", "1", "2")
		m, from := u.requests(3)
		ctx, cancel := context.WithCancel(background(t))
		cancel()
		u.send(from, answer(m[0], from, m[0].Body))
		wantError(t, p.Echo(ctx, []byte("not sent")), context.Canceled)
		diffAnswers(t, []got{{0, "0", nil}}, *answers)
		u.send(from, answer(m[1], from, m[1].Body))
		wantError(t, p.Drain(ctx), context.Canceled)
		diffAnswers(t, []got{{0, "0", nil}, {1, "1", nil}}, *answers)
		if n := p.Counters(); n.Sent != 3 {
			t.Errorf("counters %+v", n)
		}
	})
}
