// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package httpx

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"syscall"

	"golang.org/x/net/http/httpproxy"
)

var errPrivateAddress = errors.New("the endpoint resolves to a private, loopback or reserved address, " +
	"which needs the operator's flag --allow-private-endpoints")

// reserved are the ranges that cannot be a provider's: the special-purpose registries of RFC 6890
// (https://www.rfc-editor.org/rfc/rfc6890), and the IPv6 forms that embed an IPv4 address, which a translator on the
// way would unwrap. The predicates of netip miss half of them.
var reserved = parsePrefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
	"192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
	"198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
	"2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20",
)

// globalUnicastV6 is the only part of IPv6 that is allocated.
var globalUnicastV6 = netip.MustParsePrefix("2000::/3")

func parsePrefixes(texts ...string) []netip.Prefix {
	prefixes := make([]netip.Prefix, 0, len(texts))
	for _, text := range texts {
		prefixes = append(prefixes, netip.MustParsePrefix(text))
	}
	return prefixes
}

// public reports whether an address can be a provider's.
func public(address netip.Addr) bool {
	address = address.Unmap().WithZone("")
	if !address.IsValid() || address.Is6() && !globalUnicastV6.Contains(address) {
		return false
	}
	for _, prefix := range reserved {
		if prefix.Contains(address) {
			return false
		}
	}
	return true
}

// numeric matches a host whose last label is a number, in a form that some resolvers take for an IPv4 address
// (2130706433, 0x7f.1, 127.1) and netip does not. No name ends like that: there is no such top-level domain.
var numeric = regexp.MustCompile(`(?i)(^|\.)(0x[0-9a-f]*|[0-9]+)\.?$`)

// disguised reports whether a host may be an address in an unusual notation.
func disguised(host string) bool {
	_, err := netip.ParseAddr(host)
	return err != nil && numeric.MatchString(host)
}

// dialGuard refuses private addresses after name resolution, so that no name, literal or DNS rebinding can bypass it.
type dialGuard struct {
	allowPrivate bool
	// proxies are the host:port addresses of the manager's own HTTPS_PROXY, which usually are private.
	proxies map[string]bool
}

func (g *dialGuard) dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: dialTimeout}
	if !g.allowPrivate && !g.proxies[address] {
		dialer.ControlContext = func(_ context.Context, _, resolved string, _ syscall.RawConn) error {
			target, err := netip.ParseAddrPort(resolved)
			if err != nil || !public(target.Addr()) {
				return errPrivateAddress
			}
			return nil
		}
	}
	return dialer.DialContext(ctx, network, address)
}

// checkHost refuses a host any of whose addresses is private.
func (g *dialGuard) checkHost(ctx context.Context, host string) error {
	if g.allowPrivate {
		return nil
	}
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return err
	}
	for _, address := range addresses {
		if !public(address) {
			return errPrivateAddress
		}
	}
	return nil
}

func proxyAddresses(config *httpproxy.Config) map[string]bool {
	ports := map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}
	addresses := map[string]bool{}
	for _, text := range []string{config.HTTPProxy, config.HTTPSProxy} {
		proxy, err := url.Parse(text)
		if err != nil || proxy.Host == "" {
			continue
		}
		port := proxy.Port()
		if port == "" {
			port = ports[proxy.Scheme]
		}
		addresses[net.JoinHostPort(proxy.Hostname(), port)] = true
	}
	return addresses
}
