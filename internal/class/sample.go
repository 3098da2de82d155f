// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package class

import (
	"math/rand/v2"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode/utf8"

	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

const sampleCount = 200

// samples returns texts that match a pattern, the same ones each time.
func samples(pattern string) ([]string, error) {
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, err
	}
	random := rand.New(rand.NewPCG(1, 1)) //nolint:gosec // Examples are no secrets.
	var found []string
	for range sampleCount {
		var text strings.Builder
		sample(&text, parsed.Simplify(), random)
		found = append(found, text.String())
	}
	return found, nil
}

// SampleOf returns a value that a credential could have.
func SampleOf(key v1alpha1.CredentialKey) (string, error) {
	if key.Pattern == "" {
		return "simulated-" + key.Name, nil
	}
	found, err := samples(key.Pattern)
	if err != nil {
		return "", err
	}
	for _, value := range found {
		// Short ones would be found in any text.
		if len(value) >= 8 {
			return value, nil
		}
	}
	return found[0], nil
}

// sample writes a text that matches an expression.
func sample(text *strings.Builder, of *syntax.Regexp, random *rand.Rand) {
	const most = 12
	times := 1
	switch of.Op {
	case syntax.OpLiteral:
		text.WriteString(string(of.Rune))
		return
	case syntax.OpCharClass:
		pair := random.IntN(len(of.Rune)/2) * 2
		text.WriteRune(of.Rune[pair] + random.Int32N(min(of.Rune[pair+1], 'z')-min(of.Rune[pair], 'z')+1))
		return
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		text.WriteByte("abcxyz0123456789"[random.IntN(16)])
		return
	case syntax.OpAlternate:
		sample(text, of.Sub[random.IntN(len(of.Sub))], random)
		return
	case syntax.OpStar:
		times = random.IntN(most)
	case syntax.OpPlus:
		times = 1 + random.IntN(most)
	case syntax.OpQuest:
		times = random.IntN(2)
	}
	for range times {
		for _, part := range of.Sub {
			sample(text, part, random)
		}
	}
}

// fits reports whether a text is within what a schema admits.
func fits(text string, admitted *structuralschema.ValueValidation) bool {
	length := int64(utf8.RuneCountInString(text))
	isShort := admitted.MinLength != nil && length < *admitted.MinLength
	isLong := admitted.MaxLength != nil && length > *admitted.MaxLength
	matched, err := regexp.MatchString(admitted.Pattern, text)
	return err == nil && matched && !isShort && !isLong
}
