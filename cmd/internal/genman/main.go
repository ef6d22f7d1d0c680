// SPDX-License-Identifier: MIT

// Genman writes the man pages of the commands into a folder:
//
//	go run ./cmd/internal/genman docs/man
//
// What it writes depends on the commands and the release alone. Earlier
// pages of its own that no command has any more are removed.
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/cpuguy83/go-md2man/v2/md2man"
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"

	"nlpeer"
	"nlpeer/cmd/internal/cli"
	"nlpeer/cmd/internal/nlbench"
	"nlpeer/cmd/internal/nlctl"
	"nlpeer/cmd/internal/nlecho"
	"nlpeer/cmd/internal/nlsub"
	"nlpeer/labs/nllab"
)

// date is that of the pages. They are dated by hand, so that they are the same
// whenever they are made.
var date = time.Date(2026, time.November, 1, 0, 0, 0, 0, time.UTC)

// comment is how a page begins that is ours.
const comment = ".\\\" SPDX-License-Identifier: MIT\n.\\\" Generated from the command by cmd/internal/genman; do not edit.\n"

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: genman FOLDER")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "genman:", err)
		os.Exit(1)
	}
}

func write(dir string) error {
	pages, err := generate()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(dir, "*.1"))
	if err != nil {
		return err
	}
	for _, file := range old {
		if _, ok := pages[filepath.Base(file)]; ok {
			continue
		}
		page, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if bytes.HasPrefix(page, []byte(comment)) {
			if err := os.Remove(file); err != nil {
				return err
			}
		}
	}
	for name, page := range pages {
		if err := os.WriteFile(filepath.Join(dir, name), page, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// generate returns the pages by their file names.
func generate() (map[string][]byte, error) {
	pages := make(map[string][]byte)
	labs := func(*cli.Streams) *cobra.Command { return nllab.Command() }
	for _, build := range []func(*cli.Streams) *cobra.Command{nlecho.Command, nlsub.Command, nlctl.Command, nlbench.Command, labs} {
		root := build(cli.NewStreams(nil, nil, nil))
		cli.Prepare(root)
		if err := tree(pages, root); err != nil {
			return nil, err
		}
	}
	return pages, nil
}

func tree(pages map[string][]byte, cmd *cobra.Command) error {
	page, err := render(cmd)
	if err != nil {
		return err
	}
	pages[strings.ReplaceAll(cmd.CommandPath(), " ", "-")+".1"] = page
	for _, sub := range below(cmd) {
		if err := tree(pages, sub); err != nil {
			return err
		}
	}
	return nil
}

// below returns the commands of a command that are ours, not cobra's.
func below(cmd *cobra.Command) (all []*cobra.Command) {
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "help" {
			all = append(all, sub)
		}
	}
	return all
}

// heading is one in the long help of a command.
var heading = regexp.MustCompile(`(?m)^[A-Z][A-Z ]+$`)

// render makes a page. Cobra puts all of the long help under DESCRIPTION; what
// has a heading there becomes a section after the options, as in other pages.
func render(cmd *cobra.Command) ([]byte, error) {
	cmd.DisableAutoGenTag = true
	cmd.InitDefaultHelpFlag()
	cmd.NonInheritedFlags().VisitAll(describe)
	cmd.InheritedFlags().VisitAll(describe)

	description, sections := cmd.Long, ""
	if at := heading.FindStringIndex(cmd.Long); at != nil {
		description, sections = cmd.Long[:at[0]], cmd.Long[at[0]:]
	}
	cmd.Long = markdown(description) + commands(cmd)

	var page bytes.Buffer
	err := doc.GenMan(cmd, &doc.GenManHeader{
		Section: "1",
		Date:    &date,
		Source:  "nlpeer " + nlpeer.Version(),
		Manual:  "nlpeer",
	}, &page)
	if err != nil {
		return nil, err
	}

	var more []byte
	if sections != "" {
		more = md2man.Render([]byte("% nlpeer 1\n\n" + markdown(heading.ReplaceAllString(sections, "# $0"))))
		more = more[bytes.Index(more, []byte(".SH")):] // without the title
	}
	before, after := option.ReplaceAll(page.Bytes(), []byte(".TP\n$1\n$2\n")), []byte(nil)
	for _, section := range []string{"\n.SH EXAMPLE", "\n.SH SEE ALSO"} {
		if at := bytes.Index(before, []byte(section)); at >= 0 {
			before, after = before[:at+1], before[at+1:]
			break
		}
	}
	return bytes.Join([][]byte{[]byte(comment), before, more, after}, nil), nil
}

// commands is a section with a line for each command below cmd, if there are any.
func commands(cmd *cobra.Command) string {
	var lines strings.Builder
	for _, sub := range below(cmd) {
		fmt.Fprintf(&lines, "**%s**\n: %s\n\n", sub.Name(), sub.Short)
	}
	if lines.Len() == 0 {
		return ""
	}
	return "\n# COMMANDS\n\n" + lines.String()
}

// describe puts a flag's argument where cobra has the default, in the page "-c,
// --count=N", and the default into the text, as the help has it.
func describe(f *pflag.Flag) {
	argument, usage := pflag.UnquoteUsage(f)
	if f.Annotations["genman"] != nil {
		return // inherited, and seen before
	}
	f.Annotations = map[string][]string{"genman": {}}
	f.Usage = usage
	if argument == "" {
		f.DefValue, f.NoOptDefVal = "", "" // a switch
		return
	}
	if !isZero(f) {
		f.Usage += " (default " + f.DefValue + ")"
	}
	f.DefValue = "*" + argument + "*"
}

// isZero says that a flag's default is none, which the help does not show either.
func isZero(f *pflag.Flag) bool {
	switch f.DefValue {
	case "", "0", "0s", "[]", "false", "<nil>":
		return true
	}
	return false
}

// option is how cobra's pages have an option: a line, and after a tab the text.
var option = regexp.MustCompile(`(?m)^(?:\.PP\n)?(\\fB-.*?)=?\n\t(.*)\n`)

// markdown makes blocks of indented lines verbatim.
func markdown(text string) string {
	return regexp.MustCompile(`(?m)^  `).ReplaceAllString(text, "    ")
}
