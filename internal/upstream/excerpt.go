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

// volatile matches ids, times and counters, which differ between replies of the same kind. With them in the message
// each retry would write the status.
var volatile = regexp.MustCompile(`[0-9A-Za-z_-]*[0-9][0-9A-Za-z_:.-]{5,}`)

// cleaned makes a provider's words fit for a condition: one printable line, bounded, and the same for the same
// failure.
func cleaned(text string) string {
	return excerpt(volatile.ReplaceAllString(text, "…"), maxMessageLength)
}

// excerpt returns a text as one printable line of at most length bytes.
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
