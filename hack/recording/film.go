// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
)

// scene selects the steps of the demo that are on the screen together.
type scene struct {
	steps []string
	// limit is the number of lines that are shown of each command's output; 0 shows all of them.
	limit int
	// poster is set for the scene that a viewer without animation shows.
	poster bool
}

// screen is a scene with its text. Its parts appear one after the other.
type screen struct {
	parts  [][]line
	poster bool
}

// line is text with its styles.
type line []span

type span struct {
	style style
	text  string
}

type style string

const (
	plain  style = ""
	bold   style = "b"
	prompt style = "p"
	good   style = "g"
	bad    style = "r"
	faint  style = "f"
)

var (
	stepTitle = regexp.MustCompile("^\x1b\\[1m# (.*)\x1b\\[0m$")
	escape    = regexp.MustCompile("\x1b\\[([0-9;]*)m")
	age       = regexp.MustCompile(`(\s)(?:\d+[dhms])+$`)
	timestamp = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z`)
	// A path that begins with a slash belongs to the machine that ran the demo.
	machinePath = regexp.MustCompile(`(?:^|[\s='"])/[A-Za-z]`)
)

// film cuts what the demo printed into screens. It fails if a step is missing, so that the script of the recording
// follows the demo.
func film(printed string, scenes []scene) ([]screen, error) {
	steps := map[string][]string{}
	title := ""
	for text := range strings.SplitSeq(printed, "\n") {
		if found := stepTitle.FindStringSubmatch(text); found != nil {
			title = found[1]
			steps[title] = []string{text}
		} else if title != "" {
			steps[title] = append(steps[title], text)
		}
	}
	var screens []screen
	for _, scene := range scenes {
		taken := screen{poster: scene.poster}
		for _, name := range scene.steps {
			if steps[name] == nil {
				return nil, fmt.Errorf("the demo has no step %q: adjust the script in hack/recording/main.go", name)
			}
			parts, err := develop(steps[name], scene.limit)
			if err != nil {
				return nil, fmt.Errorf("step %q: %w", name, err)
			}
			if len(taken.parts) > 0 {
				parts[0] = append([]line{nil}, parts[0]...)
			}
			taken.parts = append(taken.parts, parts...)
		}
		screens = append(screens, taken)
	}
	return screens, nil
}

// develop splits a step into commands and their outputs, and leaves out of long outputs what is beyond the limit.
func develop(texts []string, limit int) ([][]line, error) {
	name, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	host := regexp.MustCompile(`\b` + regexp.QuoteMeta(name) + `\b`)
	parts := [][]line{nil}
	shown, hidden := 0, 0
	flush := func() {
		if hidden > 0 {
			last := len(parts) - 1
			parts[last] = append(parts[last], line{{faint, fmt.Sprintf("… %d more lines", hidden)}})
		}
		shown, hidden = 0, 0
	}
	for number, text := range texts {
		text = normalize(strings.TrimRight(text, " "))
		isCommand := strings.HasPrefix(text, "$ ")
		switch {
		case machinePath.MatchString(text) || host.MatchString(text):
			return nil, fmt.Errorf("a line names the machine that ran it: %s", text)
		case text == "":
			continue
		case isCommand && number > 1:
			flush()
			parts = append(parts, nil)
		case !isCommand && number > 0:
			if shown == 0 {
				parts = append(parts, nil)
			}
			if limit > 0 && shown == limit {
				hidden++
				continue
			}
			shown++
		}
		last := len(parts) - 1
		parts[last] = append(parts[last], styled(text))
	}
	flush()
	return parts, nil
}

// normalize replaces what differs from run to run.
func normalize(text string) string {
	return age.ReplaceAllString(timestamp.ReplaceAllString(text, "2026-01-01T00:00:00Z"), "${1}5s")
}

// styled reads the escape sequences that the demo prints. The prompt is coloured too.
func styled(text string) line {
	if command, isCommand := strings.CutPrefix(text, "$ "); isCommand {
		return line{{prompt, "$ "}, {bold, command}}
	}
	var spans line
	current := plain
	for text != "" {
		at := escape.FindStringSubmatchIndex(text)
		if at == nil {
			return append(spans, span{current, text})
		}
		if at[0] > 0 {
			spans = append(spans, span{current, text[:at[0]]})
		}
		current = map[string]style{"1": bold, "31": bad, "32": good}[text[at[2]:at[3]]]
		text = text[at[1]:]
	}
	return spans
}
