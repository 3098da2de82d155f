// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package httpx

import (
	"net/netip"
	"testing"
)

func TestPublic(t *testing.T) {
	cases := map[string]bool{
		"1.1.1.1":              true,
		"2606:4700:4700::1111": true,
		"127.0.0.1":            false,
		"10.1.2.3":             false,
		"100.64.0.1":           false,
		"169.254.169.254":      false,
		"172.31.255.255":       false,
		"192.168.0.1":          false,
		"198.18.0.1":           false,
		"224.0.0.1":            false,
		"255.255.255.255":      false,
		"0.0.0.0":              false,
		"::1":                  false,
		"::":                   false,
		"::ffff:10.0.0.1":      false,
		"::ffff:1.1.1.1":       true,
		"64:ff9b::a00:1":       false,
		"64:ff9b:1::a00:1":     false,
		"2002:a00:1::":         false,
		"2001:0:a00:1::":       false,
		"fe80::1":              false,
		"fe80::1%eth0":         false,
		"fc00::1":              false,
		"fd12:3456::1":         false,
		"ff02::1":              false,
		"2001:db8::1":          false,
	}
	for text, want := range cases {
		if got := public(netip.MustParseAddr(text)); got != want {
			t.Errorf("public(%s) = %v, want %v", text, got, want)
		}
	}
}
