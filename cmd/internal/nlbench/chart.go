// SPDX-License-Identifier: MIT

package nlbench

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"nlpeer/internal/bench"
)

// A chart is a picture of some of the results.
type chart struct {
	name string // of its file, without .svg
	alt  string // what it shows, in a line
	// wall says that it is for results by a real clock.
	wall bool
	// draw returns nil if the results have nothing to show.
	draw func(*bench.Results) (*plot.Plot, error)
}

var charts = []chart{
	{"contenders", "cost of an echo of 64 bytes in relation to C, for each contender and way into the kernel", false, drawContenders},
	{"batches", "cost of an echo by the number of requests in a datagram", false, drawBatches},
	{"payloads", "cost of an echo by the length of its payload", false, drawPayloads},
	{"listeners", "what each listener adds to the cost of an event", false, drawListeners},
	{"dumps", "cost of an object by the size of the table that is dumped", false, drawDumps},
	{"latencies", "percentiles of the latency of an echo, by a real clock", true, drawLatencies},
}

// The size of a chart.
const (
	chartWidth  = 16 * vg.Centimeter
	chartHeight = 9 * vg.Centimeter
)

// render returns a chart as SVG; nil if there is nothing to show.
func (c *chart) render(r *bench.Results) ([]byte, error) {
	if c.wall != r.Setting.Wall {
		return nil, nil
	}
	p, err := c.draw(r)
	if p == nil || err != nil {
		return nil, err
	}
	height := vg.Length(chartHeight)
	if c.name == "contenders" {
		height = 13 * vg.Centimeter // a line for each
	}
	canvas := vgsvg.New(chartWidth, height)
	p.Draw(draw.New(canvas))
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return nil, err
	}
	// The licence line goes behind the XML declaration, which must be first.
	return bytes.Replace(b.Bytes(), []byte("?>\n"), []byte("?>\n<!-- SPDX-License-Identifier: MIT -->\n"), 1), nil
}

// writeCharts writes all charts that there is something for into a folder.
func writeCharts(dir string, r *bench.Results) error {
	for _, c := range charts {
		svg, err := c.render(r)
		if err != nil {
			return fmt.Errorf("chart %s: %w", c.name, err)
		}
		if svg == nil {
			continue
		}
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, c.name+".svg"), svg, 0o666); err != nil {
			return err
		}
	}
	return nil
}

// Colours that can be told apart, also by those who see fewer.
var palette = []color.Color{
	color.RGBA{0, 114, 178, 255}, color.RGBA{213, 94, 0, 255}, color.RGBA{0, 158, 115, 255},
	color.RGBA{204, 121, 167, 255}, color.RGBA{86, 180, 233, 255}, color.RGBA{230, 159, 0, 255},
	color.RGBA{90, 90, 90, 255}, color.RGBA{0, 0, 0, 255},
}

func newPlot(title, x, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text = title
	p.Title.Padding = 3 * vg.Millimeter
	p.X.Label.Text, p.Y.Label.Text = x, y
	return p
}

// A bar is one of a bar chart.
type bar struct {
	name  string
	value float64
	ours  bool
}

// drawContenders compares everybody at 64 bytes, one at a time.
func drawContenders(r *bench.Results) (*plot.Plot, error) {
	yardstick, ok := r.Find(bench.Case{Name: bench.Echo, Carrier: "raw", Size: 64, Batch: 1}, bench.YardstickName)
	if !ok {
		return nil, nil
	}
	var bars []bar
	for _, rec := range r.Records {
		if rec.Type != bench.TypeResult {
			continue
		}
		c := *rec.Case
		switch {
		case c.Name == bench.Syscall && rec.Contender == bench.YardstickName:
			name := "empty system call"
			if c.Carrier != "" {
				name = "empty " + c.Carrier
			}
			bars = append(bars, bar{name, rec.Cost / yardstick.Cost, false})
		case c.Name == bench.Echo && c.Size == 64 && c.Batch == 1 && c.Carrier != "connector" && c.Carrier != "rtnl":
			bars = append(bars, bar{rec.Contender + ", " + c.Carrier, rec.Cost / yardstick.Cost, rec.Contender == "nlpeer"})
		}
	}
	slices.SortStableFunc(bars, func(a, b bar) int {
		switch {
		case a.value > b.value:
			return -1
		case a.value < b.value:
			return 1
		}
		return 0
	})
	p := newPlot("An echo of 64 bytes", "cost, C by sendto and recv on the raw protocol = 1", "")
	names := make([]string, len(bars))
	theirs, ours := make(plotter.Values, len(bars)), make(plotter.Values, len(bars))
	labels := plotter.XYLabels{XYs: make(plotter.XYs, len(bars)), Labels: make([]string, len(bars))}
	for i, b := range bars {
		names[i] = b.name
		if b.ours {
			ours[i] = b.value
		} else {
			theirs[i] = b.value
		}
		labels.XYs[i] = plotter.XY{X: b.value, Y: float64(i)}
		labels.Labels[i] = " " + bench.Ratio(b.value)
	}
	for i, values := range []plotter.Values{theirs, ours} {
		bc, err := plotter.NewBarChart(values, 3*vg.Millimeter)
		if err != nil {
			return nil, err
		}
		bc.Horizontal, bc.LineStyle.Width = true, 0
		bc.Color = palette[[]int{4, 1}[i]]
		p.Add(bc)
	}
	l, err := plotter.NewLabels(labels)
	if err != nil {
		return nil, err
	}
	for i := range l.TextStyle {
		l.TextStyle[i].YAlign = draw.YCenter
		l.TextStyle[i].Font.Size = vg.Points(9)
	}
	p.Add(l)
	p.NominalY(names...)
	p.X.Min = 0
	p.X.Max *= 1.1
	return p, nil
}

// A series is a line of a chart.
type series struct {
	name   string
	points plotter.XYs
}

// lines draws series, whose x are places of labels.
func lines(p *plot.Plot, all []series, labels []string) error {
	for i, s := range all {
		line, points, err := plotter.NewLinePoints(s.points)
		if err != nil {
			return err
		}
		line.Color, points.Color = palette[i%len(palette)], palette[i%len(palette)]
		line.Width = vg.Points(1.5)
		points.Shape, points.Radius = draw.CircleGlyph{}, vg.Points(2.5)
		p.Add(line, points)
		p.Legend.Add(s.name, line, points)
	}
	p.Legend.Top = true
	p.Legend.TextStyle.Font.Size = vg.Points(9)
	p.NominalX(labels...)
	p.Add(plotter.NewGrid())
	return nil
}

// logarithmic makes the axis of costs logarithmic, from one power of ten to
// another.
func logarithmic(p *plot.Plot) {
	p.Y.Scale = plot.LogScale{}
	p.Y.Tick.Marker = plot.LogTicks{Prec: -1}
	p.Y.Min = math.Pow(10, math.Floor(math.Log10(p.Y.Min)))
	p.Y.Max = math.Pow(10, math.Ceil(math.Log10(p.Y.Max)))
}

// along collects a series for each contender along values of an axis.
func along(r *bench.Results, contenders []string, values []int, at func(v int) bench.Case) []series {
	var all []series
	for _, who := range contenders {
		s := series{name: who}
		for i, v := range values {
			if f, ok := r.Find(at(v), who); ok {
				s.points = append(s.points, plotter.XY{X: float64(i), Y: f.Cost})
			}
		}
		if len(s.points) > 1 {
			all = append(all, s)
		}
	}
	return all
}

func numbers(values []int) []string {
	var all []string
	for _, v := range values {
		all = append(all, strconv.Itoa(v))
	}
	return all
}

func drawBatches(r *bench.Results) (*plot.Plot, error) {
	values := []int{1, 4, 16, 64, 256}
	all := along(r, []string{"mdlayher", "mdlayher-buffer", "nlpeer-pipeline", "nlpeer", "go-raw", "c"}, values, func(v int) bench.Case {
		return bench.Case{Name: bench.Echo, Carrier: "raw", Size: 64, Batch: v}
	})
	ring := along(r, []string{"c"}, values, func(v int) bench.Case {
		return bench.Case{Name: bench.Echo, Carrier: "ring", Size: 64, Batch: v}
	})
	for i := range ring {
		ring[i].name = "c, shared memory ring"
	}
	if all = append(all, ring...); len(all) == 0 {
		return nil, nil
	}
	p := newPlot("An echo of 64 bytes in a batch, raw protocol", "requests in a datagram", "instructions for an echo")
	if err := lines(p, all, numbers(values)); err != nil {
		return nil, err
	}
	logarithmic(p)
	return p, nil
}

func drawPayloads(r *bench.Results) (*plot.Plot, error) {
	values := []int{0, 64, 1024, 32768}
	all := along(r, []string{"mdlayher", "vishvananda", "c-nl", "c-mnl", "nlpeer", "c"}, values, func(v int) bench.Case {
		return bench.Case{Name: bench.Echo, Carrier: "raw", Size: v, Batch: 1}
	})
	for _, way := range []string{"ioctl", "ring"} {
		for _, s := range along(r, []string{"c"}, values, func(v int) bench.Case {
			return bench.Case{Name: bench.Echo, Carrier: way, Size: v, Batch: 1}
		}) {
			s.name = "c, " + way
			all = append(all, s)
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	p := newPlot("An echo, one at a time, raw protocol", "bytes of payload", "instructions for an echo")
	if err := lines(p, all, numbers(values)); err != nil {
		return nil, err
	}
	logarithmic(p)
	p.Legend.Left = true
	return p, nil
}

func drawListeners(r *bench.Results) (*plot.Plot, error) {
	values := []int{1, 10, 100, 1000}
	var all []series
	for _, batch := range []int{1, 16} {
		for _, s := range along(r, []string{"kernel"}, values, func(v int) bench.Case {
			return bench.Case{Name: bench.Broadcast, Carrier: "raw", Size: 64, Batch: batch, N: v}
		}) {
			s.name = "a datagram for each event"
			if batch > 1 {
				s.name = fmt.Sprintf("%d events in a datagram", batch)
			}
			for i := range s.points {
				s.points[i].Y /= float64(values[int(s.points[i].X)])
			}
			all = append(all, s)
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	p := newPlot("Broadcast of an event", "listeners", "instructions for an event and listener")
	if err := lines(p, all, numbers(values)); err != nil {
		return nil, err
	}
	logarithmic(p)
	return p, nil
}

func drawDumps(r *bench.Results) (*plot.Plot, error) {
	values := []int{10, 1000, 100000}
	all := along(r, []string{"mdlayher", "mdlayher-buffer", "c-nl", "c-mnl", "nlpeer", "c"}, values, func(v int) bench.Case {
		return bench.Case{Name: bench.Dump, Carrier: "raw", Size: 64, N: v}
	})
	if len(all) == 0 {
		return nil, nil
	}
	p := newPlot("Dump of a table, raw protocol", "objects in the table", "instructions for an object")
	if err := lines(p, all, numbers(values)); err != nil {
		return nil, err
	}
	p.Y.Min = 0
	return p, nil
}

func drawLatencies(r *bench.Results) (*plot.Plot, error) {
	var all []series
	var labels []string
	for _, rec := range r.Records {
		if rec.Type != bench.TypeResult || len(rec.Percentiles) == 0 {
			continue
		}
		if rec.Case.Name == bench.Echo && rec.Case.Size != 64 {
			continue
		}
		s := series{name: fmt.Sprintf("%v %s", *rec.Case, rec.Contender)}
		labels = nil
		for i, p := range rec.Percentiles {
			labels = append(labels, strconv.FormatFloat(p.Percent, 'f', -1, 64)+" %")
			s.points = append(s.points, plotter.XY{X: float64(i), Y: float64(p.Nanos) / 1e3})
		}
		all = append(all, s)
	}
	if len(all) == 0 {
		return nil, nil
	}
	p := newPlot("Latency by a real clock", "share of the operations", "µs, at most")
	if err := lines(p, all, labels); err != nil {
		return nil, err
	}
	logarithmic(p)
	p.Legend.Left = true
	return p, nil
}
