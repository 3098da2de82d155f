// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"os"
	"slices"
)

// The size of the plot in pixels, with margins for the labels of the axes and the names of the curves.
const (
	paperWidth, paperHeight = 760, 420
	left, right             = 70, 230
	top, bottom             = 30, 50
)

var colours = []string{"#1565c0", "#90a4ae", "#c62828", "#ef9a9a"}

// plot draws the time over the number of sessions: a curve through the medians, with bars from the minimum to the
// maximum.
func plot(path string, figures []*Figure) error {
	curves := map[string][]*Figure{}
	var names []string
	var sizes, seconds float64
	for _, figure := range figures {
		if figure.Series == "" {
			continue
		}
		if curves[figure.Series] == nil {
			names = append(names, figure.Series)
		}
		curves[figure.Series] = append(curves[figure.Series], figure)
		sizes, seconds = max(sizes, float64(figure.Size)), max(seconds, slices.Max(figure.Values))
	}
	if len(names) == 0 {
		return nil
	}
	drawn := &drawing{sizes: sizes, seconds: seconds}
	drawn.axes()
	for number, name := range names {
		drawn.curve(name, curves[name], number)
	}
	return os.WriteFile(path, drawn.svg(), 0o600)
}

// drawing maps sizes to the x axis and seconds to the y axis.
type drawing struct {
	sizes, seconds float64
	text           bytes.Buffer
}

func (d *drawing) x(size float64) float64 { return left + size/d.sizes*(paperWidth-left-right) }

func (d *drawing) y(seconds float64) float64 {
	return paperHeight - bottom - seconds/d.seconds*(paperHeight-top-bottom)
}

func (d *drawing) line(x1, y1, x2, y2 float64, colour string) {
	fmt.Fprintf(&d.text, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=%q/>\n", x1, y1, x2, y2, colour)
}

func (d *drawing) write(x, y float64, anchor, colour, text string) {
	fmt.Fprintf(&d.text, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=%q fill=%q>", x, y, anchor, colour)
	_ = xml.EscapeText(&d.text, []byte(text))
	d.text.WriteString("</text>\n")
}

func (d *drawing) axes() {
	const ticks, ink, faint = 4, "#37474f", "#eceff1"
	for tick := range ticks + 1 {
		part := float64(tick) / ticks
		d.line(d.x(0), d.y(part*d.seconds), d.x(d.sizes), d.y(part*d.seconds), faint)
		d.write(d.x(0)-8, d.y(part*d.seconds)+4, "end", ink, fmt.Sprintf("%.3g s", part*d.seconds))
		d.write(d.x(part*d.sizes), d.y(0)+20, "middle", ink, fmt.Sprintf("%.0f", part*d.sizes))
	}
	d.line(d.x(0), d.y(0), d.x(d.sizes), d.y(0), ink)
	d.line(d.x(0), d.y(0), d.x(0), d.y(d.seconds), ink)
	d.write(d.x(d.sizes/2), paperHeight-10, "middle", ink, "sessions")
	const title = "time from the first create until all sessions are expired and released: median, minimum and maximum"
	d.write(left, 18, "start", ink, title)
}

func (d *drawing) curve(name string, points []*Figure, number int) {
	colour := colours[number%len(colours)]
	// Every curve starts at the origin.
	x, y := d.x(0), d.y(0)
	for _, point := range points {
		nextX, nextY := d.x(float64(point.Size)), d.y(point.median())
		d.line(x, y, nextX, nextY, colour)
		d.line(nextX, d.y(slices.Min(point.Values)), nextX, d.y(slices.Max(point.Values)), colour)
		x, y = nextX, nextY
	}
	// The names are spaced evenly, so that they do not overlap.
	d.write(paperWidth-right+24, float64(top+20*(number+1)), "start", colour, name)
}

func (d *drawing) svg() []byte {
	const frame = `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">
<rect width="100%%" height="100%%" fill="white"/>
%s</svg>
`
	return fmt.Appendf(nil, frame, paperWidth, paperHeight, d.text.Bytes())
}
