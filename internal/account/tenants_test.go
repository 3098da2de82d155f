// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/call"
)

// TestTenantsTakeTurns has one tenant with very many deletions, and another that submits a few after them.
func TestTenantsTakeTurns(t *testing.T) {
	provider := &fake{takes: time.Second}
	run(t, oneByOne(provider), func(account *Account) {
		of := func(tenant, name string, priority Priority) Request {
			request := requestFor(tenant+" "+name, priority)
			request.Tenant = tenant
			return request
		}
		for i := range 1000 {
			account.Submit(of("noisy", strconv.Itoa(i), Deletion))
		}
		for i := range 5 {
			account.Submit(of("quiet", strconv.Itoa(i), Deletion))
		}
		account.Submit(of("idle", "poll", Poll))
		pass(15 * time.Second)
		made := provider.made()
		for i := range 5 {
			if name := "quiet " + strconv.Itoa(i); !slices.Contains(made, name) {
				t.Errorf("%s waits behind the calls of the other tenant: %q", name, made)
			}
		}
		if slices.Contains(made, "idle poll") {
			t.Error("a poll went ahead of deletions")
		}
		account.Withdraw("noisy 999")
		pass(2000 * time.Second)
		if got := len(provider.made()); got != 1005 {
			t.Errorf("%d calls, want 1005: all but the one that was withdrawn", got)
		}
	})
}

// TestResubmittedRequestKeepsItsTurn has a session that is reconciled again and again while its request is queued.
func TestResubmittedRequestKeepsItsTurn(t *testing.T) {
	provider := &fake{takes: time.Second}
	run(t, oneByOne(provider), func(account *Account) {
		quiet := requestFor("quiet", Deletion)
		quiet.Tenant = "quiet"
		for i := range 100 {
			noisy := requestFor("noisy "+strconv.Itoa(i), Deletion)
			noisy.Tenant = "noisy"
			account.Submit(noisy)
		}
		for range 20 {
			account.Submit(quiet)
			pass(500 * time.Millisecond)
			account.Acknowledge("quiet")
		}
		if !slices.Contains(provider.made(), "quiet") {
			t.Error("no call within 10 s, although the tenants take turns")
		}
	})
}

// TestDeletionsStarveNoExpiriesOfOthers has one tenant with very many deletions, and another with one expiry.
func TestDeletionsStarveNoExpiriesOfOthers(t *testing.T) {
	provider := &fake{takes: time.Second}
	run(t, oneByOne(provider), func(account *Account) {
		for i := range 1000 {
			noisy := requestFor("noisy "+strconv.Itoa(i), Deletion)
			noisy.Tenant = "noisy"
			account.Submit(noisy)
		}
		quiet := requestFor("quiet", Expiry)
		quiet.Tenant = "quiet"
		account.Submit(quiet)
		pass(10 * time.Second)
		if !slices.Contains(provider.made(), "quiet") {
			t.Error("an expiry waits behind the deletions of another tenant")
		}
	})
}

// TestCallbacksMayCallBack calls the account from each of its callbacks. That deadlocks if a callback runs under the
// account's lock.
func TestCallbacksMayCallBack(t *testing.T) {
	provider := &fake{}
	var (
		account  *Account
		settings Config
	)
	back := func() {
		account.Activity()
		account.Withdraw("other")
		account.Reconfigure(settings)
	}
	settings = oneByOne(provider)
	settings.ReloadCredentials = func(context.Context) bool { back(); return false }
	settings.OnRejected = func(context.Context) { back() }
	settings.OnRecovered = func(context.Context) { back() }
	reports := 0
	settings.OnOutage = func() { back(); reports++ }
	run(t, settings, func(started *Account) {
		account = started
		submitNamed := func(name string) {
			request := requestFor(name, Expiry)
			request.Requeue = back
			request.Confirm = func(context.Context) bool { back(); return true }
			request.OnCall = func(call.Result, time.Duration) { back() }
			submit(account, request)
		}
		provider.answer(rejecting)
		for _, name := range []string{"a", "b", "declined"} {
			submitNamed(name)
		}
		provider.answer(nil)
		pass(probeInterval)
		for _, name := range []string{"a", "b", "declined"} {
			submitNamed(name)
		}
		if account.Rejected() {
			t.Error("the account is still rejected")
		}
		provider.answer(func(string) call.Result { return call.Result{Outcome: v1alpha1.OutcomeUnavailable} })
		for i := range 30 {
			submitNamed(strconv.Itoa(i))
		}
		if reports == 0 {
			t.Error("no outage was reported")
		}
	})
}
