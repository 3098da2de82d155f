// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// Secret is a credential. Every way to print it prints [redacted].
type Secret string

const redacted = "[redacted]"

// String hides the value from fmt.
func (Secret) String() string { return redacted }

// GoString hides the value from %#v.
func (Secret) GoString() string { return redacted }

// MarshalText hides the value from encoders.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue hides the value from slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// Credentials holds an account's credentials by the names that its class gives them.
type Credentials map[string]Secret

// MissingCredentialsError names the keys that a Secret lacks.
type MissingCredentialsError struct {
	// Keys that are absent or empty, sorted.
	Keys []string
}

func (e *MissingCredentialsError) Error() string {
	return "it lacks " + strings.Join(e.Keys, ", ")
}

// Credentials returns the credentials that the class needs from a Secret's data. It trims white space, which editors
// and echo leave behind. An optional credential may be absent or empty. The error is a *MissingCredentialsError, or
// names the key whose value cannot be right.
func (d *Definition) Credentials(data map[string][]byte) (Credentials, error) {
	credentials := Credentials{}
	var missing []string
	for _, name := range slices.Sorted(maps.Keys(d.credentials)) {
		key, value := d.credentials[name], strings.TrimSpace(string(data[name]))
		switch {
		case value == "" && key.optional:
			continue
		case value == "":
			missing = append(missing, name)
		case !httpguts.ValidHeaderFieldValue(value):
			return nil, fmt.Errorf("key %s contains characters that cannot be sent in a request, such as a line break", name)
		case key.pattern != nil && !key.pattern.MatchString(value):
			return nil, fmt.Errorf("key %s has not the form of this credential: the class wants it to match %q", name,
				strings.TrimSuffix(strings.TrimPrefix(key.pattern.String(), "^(?:"), ")$"))
		}
		credentials[name] = Secret(value)
	}
	if len(missing) > 0 {
		return nil, &MissingCredentialsError{Keys: missing}
	}
	return credentials, nil
}

// redact removes every credential from a text, in each form that an echoed request may contain. It removes longer
// forms first, because one credential may be part of another.
func (c Credentials) redact(text string) string {
	if text == "" {
		return ""
	}
	for _, form := range c.forms() {
		text = strings.ReplaceAll(text, form, redacted)
	}
	return text
}

// forms returns the forms in which the credentials may be echoed, the longest first.
func (c Credentials) forms() []string {
	var forms []string
	add := func(plain string) {
		forms = append(
			forms, plain, url.QueryEscape(plain), url.PathEscape(plain), strings.Trim(strconv.Quote(plain), `"`),
			base64.StdEncoding.EncodeToString([]byte(plain)),
		)
	}
	for _, secret := range c {
		if len(secret) < minSecretLength {
			continue
		}
		add(string(secret))
		add(string(secret) + ":")
		for _, other := range c {
			// HTTP Basic sends two credentials as one, and OAuth2 escapes each of them first.
			add(string(secret) + ":" + string(other))
			add(url.QueryEscape(string(secret)) + ":" + url.QueryEscape(string(other)))
		}
	}
	slices.SortFunc(forms, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	return slices.Compact(forms)
}

// minSecretLength is the length from which on a credential can be a secret. A version or a number is none, and is part
// of many innocent texts.
const minSecretLength = 4

// minRedactedLength is the length from which on a credential is removed from a whole reply: a shorter one may be part
// of an innocent word.
const minRedactedLength = 8

// redactReply returns a copy of a decoded reply without the credentials.
func (c Credentials) redactReply(value any) any {
	long := Credentials{}
	for name, secret := range c {
		if len(secret) >= minRedactedLength {
			long[name] = secret
		}
	}
	if len(long) == 0 {
		return value
	}
	return replaceTexts(value, strings.NewReplacer(long.pairs()...))
}

// pairs returns the forms and their replacements, as strings.NewReplacer takes them.
func (c Credentials) pairs() []string {
	var pairs []string
	for _, form := range c.forms() {
		pairs = append(pairs, form, redacted)
	}
	return pairs
}

// replaceTexts returns a copy of a decoded reply with all of its texts replaced.
func replaceTexts(value any, replacer *strings.Replacer) any {
	switch value := value.(type) {
	case string:
		return replacer.Replace(value)
	case map[string]any:
		copied := make(map[string]any, len(value))
		for key := range value {
			copied[replacer.Replace(key)] = replaceTexts(value[key], replacer)
		}
		return copied
	case map[string]string:
		copied := make(map[string]string, len(value))
		for key := range value {
			copied[key] = replacer.Replace(value[key])
		}
		return copied
	case []any:
		copied := make([]any, len(value))
		for i := range value {
			copied[i] = replaceTexts(value[i], replacer)
		}
		return copied
	default:
		return value
	}
}

// RedactReply returns the body of a reply without the credentials and the tokens of an endpoint, for a record of it. It
// redacts the decoded texts: JSON may write a character in several ways.
func (e *Endpoint) RedactReply(body []byte, tokens ...Secret) []byte {
	all := maps.Clone(e.Credentials)
	for i, token := range tokens {
		all[fmt.Sprint(accessToken, i)] = token
	}
	value, readable := decode(body)
	if !readable || value == nil {
		return []byte(all.redact(string(body)))
	}
	text, err := json.Marshal(all.redactReply(value))
	if err != nil {
		return []byte(redacted)
	}
	return text
}
