// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/url"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// Secret is a credential that prints as [redacted], however it is printed.
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

// Credentials are an account's, by the names that its class gives them.
type Credentials map[string]Secret

// MissingCredentialsError says which keys a Secret lacks.
type MissingCredentialsError struct {
	// Keys that are absent or empty, sorted.
	Keys []string
}

func (e *MissingCredentialsError) Error() string {
	return "it lacks " + strings.Join(e.Keys, ", ")
}

// Credentials picks what the class needs from a Secret's data and trims white space, which editors and echo leave behind.
// It returns a *MissingCredentialsError, or an error that names the key whose value cannot be sent.
func (d *Definition) Credentials(data map[string][]byte) (Credentials, error) {
	credentials := Credentials{}
	var missing []string
	for _, key := range d.credentialNames {
		value := strings.TrimSpace(string(data[key]))
		switch {
		case value == "":
			missing = append(missing, key)
		case !httpguts.ValidHeaderFieldValue(value):
			return nil, fmt.Errorf("key %s holds characters that cannot be sent in a request, such as a line break", key)
		}
		credentials[key] = Secret(value)
	}
	if len(missing) > 0 {
		sort.Strings(missing)
		return nil, &MissingCredentialsError{Keys: missing}
	}
	return credentials, nil
}

// redact takes every credential out of a text, in each form in which a request that is echoed may hold it.
func (c Credentials) redact(text string) string {
	if text == "" {
		return ""
	}
	for _, secret := range c {
		plain := string(secret)
		for _, form := range []string{
			plain, url.QueryEscape(plain), url.PathEscape(plain), strings.Trim(strconv.Quote(plain), `"`),
			base64.StdEncoding.EncodeToString([]byte(plain + ":")), base64.StdEncoding.EncodeToString([]byte(plain)),
		} {
			text = strings.ReplaceAll(text, form, redacted)
		}
	}
	return text
}
