// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

const maxMessageLength = 120

// volatile matches what changes from reply to reply of the same kind: ids, times, counters. A message that held them
// would make every retry a write.
var volatile = regexp.MustCompile(`[0-9A-Za-z_-]*[0-9][0-9A-Za-z_:.-]{5,}`)

// cleaned makes a provider's words fit for a condition: one line, printable, bounded, and the same for the same failure.
func cleaned(text string) string {
	return excerpt(volatile.ReplaceAllString(text, "…"), maxMessageLength)
}

// excerpt bounds a text and makes one printable line of it.
func excerpt(text string, length int) string {
	text = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	if len(text) <= length {
		return text
	}
	end := length - len("…")
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}
