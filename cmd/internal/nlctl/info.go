// SPDX-License-Identifier: MIT

package nlctl

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"github.com/spf13/cobra"

	"nlpeer"
	"nlpeer/cmd/internal/cli"
	"nlpeer/pkg/client"
	"nlpeer/pkg/wire"
)

// The object of -o json. Its members are promised in the help.
type (
	infoJSON struct {
		Type       string            `json:"type"`
		Loaded     bool              `json:"loaded"`
		Version    string            `json:"version,omitempty"`
		Protocol   int               `json:"protocol,omitempty"`
		Parameters map[string]string `json:"parameters,omitempty"`
		Family     *familyJSON       `json:"family,omitempty"`
		Beacon     *beaconJSON       `json:"beacon,omitempty"`
	}
	familyJSON struct {
		Name    string      `json:"name"`
		ID      uint16      `json:"id"`
		Version uint8       `json:"version"`
		Groups  []mcgrpJSON `json:"groups"`
	}
	mcgrpJSON struct {
		Name string `json:"name"`
		ID   uint32 `json:"id"`
	}
)

func (o *options) info() *cobra.Command {
	return &cobra.Command{
		Use:   "info",
		Short: "show what is loaded and how to reach it",
		Long: `Show whether the module is loaded, its version and parameters, the numbers by
which its protocols are reached, and the beacon in force. Needs no privilege.
Exits with 2 if the module is not loaded.

JSON
  type "info"   loaded (true or false), and if it is: version, protocol (the
                raw one's number), parameters (texts, as in /sys/module), family
                (of generic netlink: name, id, version, groups: a list of name,
                id), beacon (as "nlctl beacon get" has it)`,
		Args: cobra.NoArgs,
		RunE: cli.RunE(func(ctx context.Context, _ []string) error {
			err := o.showInfo(ctx)
			if errors.Is(err, client.ErrNotLoaded) {
				if o.target.Format == cli.JSON {
					o.streams.Out.JSON(infoJSON{Type: "info"})
				} else {
					fmt.Fprintln(o.streams.Out, "module      not loaded")
				}
			}
			return o.target.Explain(err)
		}),
	}
}

func (o *options) showInfo(ctx context.Context) error {
	cfg, done, err := o.target.Open()
	if err != nil {
		return err
	}
	defer done()
	cfg.Timeout = patience
	p, err := o.dial(ctx, cfg)
	if err != nil {
		return err
	}
	defer p.Close()
	b, err := p.Beacon(ctx)
	if err != nil {
		return err
	}
	f, err := o.family(cfg.NetNS)
	if err != nil {
		return err
	}

	v := infoJSON{
		Type:       "info",
		Loaded:     true,
		Version:    o.attribute("version"),
		Parameters: o.parameters(),
		Family:     &f,
		Beacon:     newBeaconJSON(b),
	}
	v.Protocol, _ = strconv.Atoi(v.Parameters["protocol"])
	if o.target.Format == cli.JSON {
		o.streams.Out.JSON(v)
		return nil
	}

	version := "of an unknown version (no " + wire.FamilyName + " in /sys/module)"
	if v.Version != "" {
		version = "version " + v.Version
		if v.Version != nlpeer.Version() {
			version += ", but nlctl is of " + nlpeer.Version()
		}
	}
	fmt.Fprintf(o.streams.Out, "module      loaded, %s\n", version)
	if v.Protocol != 0 {
		fmt.Fprintf(o.streams.Out, "protocol    %d\n", v.Protocol)
	}
	fmt.Fprintf(o.streams.Out, "family      %s, id %d, version %d\n", f.Name, f.ID, f.Version)
	for _, g := range f.Groups {
		fmt.Fprintf(o.streams.Out, "mcast       %s, id %d\n", g.Name, g.ID)
	}
	for _, name := range slices.Sorted(maps.Keys(v.Parameters)) {
		fmt.Fprintf(o.streams.Out, "parameter   %s=%s\n", name, v.Parameters[name])
	}
	fmt.Fprintf(o.streams.Out, "beacon      %s\n", describe(b))
	return nil
}

// describe says in a line what a beacon does.
func describe(b client.Beacon) string {
	if b.Interval == 0 {
		return "off"
	}
	var to []string
	if b.Groups != 0 {
		to = append(to, rawGroups(b.Groups))
	}
	if b.Generic {
		to = append(to, "genl group "+wire.McgrpBeacon)
	}
	if b.Connector {
		to = append(to, "the connector")
	}
	if len(to) == 0 {
		to = append(to, "nobody")
	}
	return fmt.Sprintf("every %s to %s, %d bytes of data", cli.Duration(b.Interval), strings.Join(to, " and "), b.Size)
}

// attribute returns the content of a file in the module's folder, "" if there
// is none.
func (o *options) attribute(name string) string {
	text, _ := fs.ReadFile(o.sysfs, name)
	return strings.TrimSpace(string(text))
}

func (o *options) parameters() map[string]string {
	entries, _ := fs.ReadDir(o.sysfs, "parameters")
	parameters := make(map[string]string, len(entries))
	for _, e := range entries {
		parameters[e.Name()] = o.attribute("parameters/" + e.Name())
	}
	return parameters
}

// family asks the kernel for the family's numbers. netns is 0 or a file
// descriptor.
func family(netns int) (familyJSON, error) {
	conn, err := genetlink.Dial(&netlink.Config{NetNS: netns})
	if err != nil {
		return familyJSON{}, err
	}
	defer conn.Close()
	f, err := conn.GetFamily(wire.FamilyName)
	if err != nil {
		return familyJSON{}, fmt.Errorf("looking up family %s: %w", wire.FamilyName, err)
	}
	v := familyJSON{Name: f.Name, ID: f.ID, Version: f.Version, Groups: []mcgrpJSON{}}
	for _, g := range f.Groups {
		v.Groups = append(v.Groups, mcgrpJSON{g.Name, g.ID})
	}
	return v, nil
}

func rawGroups(mask uint32) string {
	if bits.OnesCount32(mask) == 1 {
		return "raw group " + cli.GroupList(mask)
	}
	return "raw groups " + cli.GroupList(mask)
}
