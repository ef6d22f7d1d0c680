// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"nlpeer/vm-test/internal/kernel"
	"nlpeer/vm-test/internal/wire"
)

func newShell() *cobra.Command {
	var g guestRun
	cmd := &cobra.Command{
		Use:   "shell [flags]",
		Short: "Open a shell in a virtual machine with the module loaded",
		Long: `Shell gives you a terminal in a fresh machine: nlpeer loaded, our commands on
the PATH, busybox's tools. Leave with exit or Ctrl-D; all is gone then.`,
		Example: `  nlvm shell
  nlvm shell --image tools
  nlvm shell --kernel 6.12 --put ./myprogram --no-module`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("timeout") {
				g.timeout = 0
			}
			image, err := kernel.FindImage(g.image)
			if err != nil {
				return err
			}
			g.argv = []string{image.Shell, "-l"}
			g.env = []string{`PS1=nlvm:\w# `}
			size, err := terminalSize()
			if err != nil {
				// No terminal: a shell that reads commands from a file or pipe.
				g.argv = []string{"sh"}
				return g.do()
			}
			return g.interact(size)
		},
	}
	g.registerOn(cmd)
	return cmd
}

func terminalSize() (wire.Size, error) {
	ws, err := unix.IoctlGetWinsize(int(os.Stdin.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return wire.Size{}, err
	}
	return wire.Size{Rows: ws.Row, Cols: ws.Col}, nil
}

// interact connects our terminal to one in the guest.
func (g *guestRun) interact(size wire.Size) error {
	g.terminal = &size
	resizes := make(chan wire.Size, 1)
	g.resizes = resizes
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	go func() {
		for range changed {
			if s, err := terminalSize(); err == nil {
				resizes <- s
			}
		}
	}()

	fd := int(os.Stdin.Fd())
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	// Whatever happens, the terminal is given back as it was.
	defer func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, before) }()
	g.started = func() error {
		fmt.Fprint(notes, "nlvm: a shell in the guest; leave it with exit or Ctrl-D\n")
		notes.Flush() // while the terminal knows what a line is
		return unix.IoctlSetTermios(fd, unix.TCSETS, raw(*before))
	}
	return g.do()
}

// raw passes every key on to the guest, Ctrl-C included; see cfmakeraw in termios(3).
func raw(t unix.Termios) *unix.Termios {
	t.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	t.Oflag &^= unix.OPOST
	t.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	t.Cflag = t.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	return &t
}
