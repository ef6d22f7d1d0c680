// SPDX-License-Identifier: MIT

package security

import (
	"fmt"
	"strings"
)

// Markdown is the table as SECURITY.md shows it. What a text says stands once,
// below it.
func Markdown() string {
	var b strings.Builder
	notes := map[string]int{}
	var texts []string
	cell := func(result string) string {
		if result == ok {
			return "yes"
		}
		errno, text, said := strings.Cut(result, " ")
		if !said {
			return "`" + errno + "`"
		}
		if notes[text] == 0 {
			texts = append(texts, text)
			notes[text] = len(texts)
		}
		return fmt.Sprintf("`%s` (%d)", errno, notes[text])
	}
	table := func(rows []Row, columns []string, of func(Row) []string) {
		b.WriteString("| carrier | operation |")
		for _, c := range columns {
			b.WriteString(" " + c + " |")
		}
		b.WriteString("\n|" + strings.Repeat(" --- |", 2+len(columns)) + "\n")
		for _, r := range rows {
			fmt.Fprintf(&b, "| %s | %s |", r.Carrier, r.Operation)
			for _, result := range of(r) {
				b.WriteString(" " + cell(result) + " |")
			}
			b.WriteString("\n")
		}
		b.WriteString("\n")
	}
	actors := func(r Row) []string { return r.Actors[:] }
	handed := func(r Row) []string { return r.Handed[:] }

	table(Table(), Actors, actors)
	b.WriteString("With sockets that somebody else opened in the initial network namespace, and handed over:\n\n")
	table(Table(), Handed, handed)
	b.WriteString("What the module parameter `user_send=1` changes, in both tables:\n\n")
	table(WithUserSend(), append(append([]string(nil), Actors...), Handed...), func(r Row) []string { return append(actors(r), handed(r)...) })
	b.WriteString("The extended acknowledgment says:\n\n")
	for i, text := range texts {
		fmt.Fprintf(&b, "%d. `%s`\n", i+1, text)
	}
	return b.String()
}
