// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strings"
	"unicode/utf8"
)

// The terminal's geometry, in pixels.
const (
	characterWidth, lineHeight = 8.4, 20
	margin, titleBar           = 20, 36
)

// The rhythm of the recording, in seconds: the pause before a part appears, and the time to read a screen and a line
// of it.
const (
	pause, readScreen, readLine = 0.9, 2.0, 0.16
)

const heading = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %[1]d %[2]d" width="%[1]d" height="%[2]d" role="img">
<title>A run of make demo</title>
<desc>A terminal: open payment sessions of four providers become expired, and the deletion of a namespace expires its sessions first, written down or not.</desc>
<style>
text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono","DejaVu Sans Mono",monospace;fill:#c9d1d9;white-space:pre}
.b{fill:#fff;font-weight:bold}.p{fill:#7ee787}.g{fill:#7ee787}.r{fill:#ff7b72}.f{fill:#8b949e}
g{animation-duration:%[3]gs;animation-timing-function:step-end;animation-iteration-count:infinite}
`

const frame = `@media (prefers-reduced-motion:reduce){g{animation:none!important}}
</style>
<rect width="100%%" height="100%%" rx="8" fill="#0d1117"/>
<rect x="0.5" y="0.5" width="%d" height="%d" rx="8" fill="none" stroke="#30363d"/>
<circle cx="22" cy="18" r="6" fill="#ff5f57"/><circle cx="42" cy="18" r="6" fill="#febc2e"/><circle cx="62" cy="18" r="6" fill="#28c840"/>
<text class="f" x="50%%" y="23" text-anchor="middle">make demo</text>
`

// draw returns the recording as an SVG. CSS shows its parts in turn, because scripts do not run in an image. A viewer
// that does not animate shows the poster.
func draw(screens []screen) []byte {
	columns, rows := 0, 0
	length := 0.0
	for _, screen := range screens {
		lines := 0
		for _, part := range screen.parts {
			lines += len(part)
			for _, line := range part {
				columns = max(columns, line.columns())
			}
		}
		rows = max(rows, lines)
		length += screen.seconds(lines)
	}
	width, height := 2*margin+int(float64(columns)*characterWidth)+1, titleBar+rows*lineHeight+margin
	var style, body bytes.Buffer
	fmt.Fprintf(&style, heading, width, height, round(length))
	started, number := 0.0, 0
	for _, screen := range screens {
		row := 0
		for _, part := range screen.parts {
			row += len(part)
		}
		ended := started + screen.seconds(row)
		row = 0
		for index, part := range screen.parts {
			// Until its time a part is transparent. The first screen has no time before it, and the last one none after it.
			appears, disappears := 100*(started+float64(index)*pause)/length, 100*ended/length
			fmt.Fprintf(&style, "@keyframes k%[1]d{0%%{opacity:0}%.2[2]f%%{opacity:1}%.2[3]f%%{opacity:0}}#k%[1]d{animation-name:k%[1]d}\n",
				number, max(appears, 0.01), min(disappears, 99.99))
			opacity := "0"
			if screen.poster {
				opacity = "1"
			}
			fmt.Fprintf(&body, "<g id=\"k%d\" opacity=\"%s\">\n", number, opacity)
			for _, line := range part {
				row++
				line.draw(&body, titleBar+row*lineHeight-5)
			}
			body.WriteString("</g>\n")
			number++
		}
		started = ended
	}
	fmt.Fprintf(&style, frame, width-1, height-1)
	return append(append(style.Bytes(), body.Bytes()...), "</svg>\n"...)
}

// seconds returns how long a screen stays.
func (s screen) seconds(lines int) float64 {
	return round(float64(len(s.parts)-1)*pause + readScreen + float64(lines)*readLine)
}

func round(seconds float64) float64 { return float64(int(seconds*10+0.5)) / 10 }

// columns returns the width of a line in characters.
func (l line) columns() int {
	count := 0
	for _, span := range l {
		count += utf8.RuneCountInString(span.text)
	}
	return count
}

// draw writes the line. textLength keeps the columns of a table aligned, whatever font the viewer has.
func (l line) draw(to *bytes.Buffer, y int) {
	column := 0
	for _, span := range l {
		text := strings.TrimLeft(span.text, " ")
		at := column + utf8.RuneCountInString(span.text) - utf8.RuneCountInString(text)
		column += utf8.RuneCountInString(span.text)
		text = strings.TrimRight(text, " ")
		if text == "" {
			continue
		}
		class := ""
		if span.style != plain {
			class = fmt.Sprintf(" class=%q", string(span.style))
		}
		fmt.Fprintf(to, "<text%s x=\"%.1f\" y=\"%d\" textLength=\"%.1f\" xml:space=\"preserve\">", class,
			margin+float64(at)*characterWidth, y, float64(utf8.RuneCountInString(text))*characterWidth)
		// A buffer does not fail.
		_ = xml.EscapeText(to, []byte(text))
		to.WriteString("</text>\n")
	}
}
