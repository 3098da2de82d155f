// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"strconv"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/payops-dev/payment-session-operator/internal/call"
)

// TestOutdatedRequests has requests in the queue of an account that changes before their turn comes.
func TestOutdatedRequests(t *testing.T) {
	for _, tc := range []struct {
		reason string
		change func(config *Config, provider *fake)
		made   bool
	}{
		{"the limits", func(config *Config, _ *fake) { config.Limits.Concurrency = 2 }, true},
		{"the credentials", func(config *Config, provider *fake) { config.Upstream = &struct{ *fake }{provider} }, false},
		{"the endpoint", func(config *Config, provider *fake) {
			config.Upstream, config.Endpoint = &struct{ *fake }{provider}, "another"
		}, false},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			provider := &fake{takes: time.Second}
			given := oneByOne(provider)
			given.Endpoint = "one"
			run(t, given, func(account *Account) {
				account.Submit(requestFor("first", Deletion))
				pass(time.Millisecond)
				requeued := make(chan struct{}, 10)
				proven := requestFor("proven", Proven)
				proven.Endpoint, proven.Proof = "one", call.Proof{At: time.Now(), Access: account.Access()}
				proven.Requeue = func() { requeued <- struct{}{} }
				account.Submit(proven)
				tc.change(&given, provider)
				account.Reconfigure(given)
				pass(5 * time.Second)
				if made := len(provider.made()) > 1; made != tc.made || len(requeued) != 1 {
					t.Errorf("the call is made: %v, want %v; the session is requeued %d times", made, tc.made, len(requeued))
				}
			})
		})
	}
}

// TestProvenGoesFirst has an expire call that a read allows, behind very many deletions.
func TestProvenGoesFirst(t *testing.T) {
	provider := &fake{takes: time.Second}
	run(t, oneByOne(provider), func(account *Account) {
		for i := range 100 {
			account.Submit(requestFor("deletion "+strconv.Itoa(i), Deletion))
		}
		pass(time.Millisecond)
		proven := requestFor("proven", Proven)
		proven.Proof = call.Proof{At: time.Now(), Access: account.Access()}
		account.Submit(proven)
		pass(5 * time.Second)
		if made := provider.made(); len(made) < 3 || made[1] != "proven" {
			t.Errorf("the calls are %q, want the proven one right after the first", made)
		}
	})
}

// TestOldProofs submits expire calls whose read was a while ago when their turn comes.
func TestOldProofs(t *testing.T) {
	fewCalls := Limits{Rate: rate.Every(time.Hour), Burst: 1, Concurrency: 1}
	for _, tc := range []struct {
		reason string
		limits Limits
		age    time.Duration
		made   bool
	}{
		{"a moment ago", Limits{Rate: rate.Inf, Burst: 1, Concurrency: 4}, time.Second, true},
		{"as long ago as it may be", Limits{Rate: rate.Inf, Burst: 1, Concurrency: 4}, proofAge, true},
		{"longer ago", Limits{Rate: rate.Inf, Burst: 1, Concurrency: 4}, proofAge + time.Second, false},
		{"some calls ago, in an account that may make few", fewCalls, time.Hour, true},
		{"more calls ago", fewCalls, 4 * time.Hour, false},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			provider := &fake{}
			given := config(provider)
			given.Limits = tc.limits
			run(t, given, func(account *Account) {
				requeued := make(chan struct{}, 10)
				old := requestFor("old", Proven)
				old.Proof = call.Proof{At: time.Now().Add(-tc.age), Access: account.Access()}
				old.Requeue = func() { requeued <- struct{}{} }
				account.Submit(old)
				pass(time.Second)
				if made := len(provider.made()) > 0; made != tc.made || len(requeued) != 1 {
					t.Errorf("the call is made: %v, want %v; the session is requeued %d times", made, tc.made, len(requeued))
				}
				if _, ok := account.Outcome(old.Session); ok != tc.made {
					t.Errorf("there is an outcome: %v", ok)
				}
				if active := account.Activity(); active.Queued+active.InFlight > 0 {
					t.Errorf("the account has %+v", active)
				}
			})
		})
	}
}

// TestProofIsNotForOtherCredentials has a call that a read allows, and whose credentials are rejected and have changed:
// the call with the new ones needs another read.
func TestProofIsNotForOtherCredentials(t *testing.T) {
	provider := &fake{result: rejecting}
	given := oneByOne(provider)
	given.ReloadCredentials = func(context.Context) bool { return true }
	run(t, given, func(account *Account) {
		proven := requestFor("proven", Proven)
		proven.Proof = call.Proof{At: time.Now(), Access: account.Access()}
		account.Submit(proven)
		pass(time.Second)
		if made := provider.made(); len(made) != 1 {
			t.Errorf("%d calls, want one", len(made))
		}
	})
}

// TestUnproven has an expire call that must not be made without a read, and came to the queue without one.
func TestUnproven(t *testing.T) {
	provider := &fake{}
	run(t, oneByOne(provider), func(account *Account) {
		requeued := make(chan struct{}, 10)
		unproven := requestFor("unproven", Expiry)
		unproven.NeedsProof, unproven.Requeue = true, func() { requeued <- struct{}{} }
		account.Submit(unproven)
		pass(time.Second)
		if made := provider.made(); len(made) > 0 || len(requeued) != 1 {
			t.Errorf("%d calls, want none; the session is requeued %d times", len(made), len(requeued))
		}
	})
}
