// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/call"
)

func TestOutcomesStayUntilAcknowledged(t *testing.T) {
	provider := &fake{}
	run(t, config(provider), func(account *Account) {
		requeued := 0
		request := requestFor("a", Expiry)
		request.Requeue = func() { requeued++ }
		account.Submit(request)
		synctest.Wait()
		account.Submit(request)
		synctest.Wait()
		if got := provider.made(); len(got) != 1 {
			t.Errorf("%d calls before the first outcome was acknowledged, want 1", len(got))
		}
		if outcome, there := account.Outcome("a"); !there || outcome.Result.State != v1alpha1.SessionStateExpired {
			t.Errorf("outcome %+v, there: %v; want one with the state expired", outcome, there)
		}
		if requeued != 1 {
			t.Errorf("requeued %d times, want once", requeued)
		}
		account.Acknowledge("a")
		account.Submit(request)
		synctest.Wait()
		if got := provider.made(); len(got) != 2 {
			t.Errorf("%d calls after the outcome was acknowledged, want 2", len(got))
		}
	})
}

func TestConcurrencyLimit(t *testing.T) {
	provider := &fake{takes: time.Second}
	run(t, config(provider), func(account *Account) {
		for i := range 20 {
			account.Submit(requestFor(strconv.Itoa(i), Expiry))
		}
		pass(time.Minute)
		if got := len(provider.made()); got != 20 {
			t.Errorf("%d calls, want 20", got)
		}
		synctest.Wait()
		if provider.highest != 4 {
			t.Errorf("%d calls in flight at once, want 4", provider.highest)
		}
	})
}

func TestDeletionsAndExpiriesGoBeforePolls(t *testing.T) {
	provider := &fake{takes: time.Second}
	run(t, oneByOne(provider), func(account *Account) {
		account.Submit(requestFor("first", Poll))
		synctest.Wait()
		account.Submit(requestFor("poll 1", Poll))
		account.Submit(requestFor("poll 2", Poll))
		account.Submit(requestFor("expiry 1", Expiry))
		account.Submit(requestFor("expiry 2", Expiry))
		account.Submit(requestFor("deletion", Deletion))
		account.Submit(requestFor("poll 2", Deletion))
		pass(time.Minute)
		want := []string{"first", "poll 2", "deletion", "expiry 1", "expiry 2", "poll 1"}
		if got := provider.made(); !slices.Equal(got, want) {
			t.Errorf("calls in the order %q, want %q", got, want)
		}
	})
}

func TestWithdrawnRequestsAreNotCarriedOut(t *testing.T) {
	provider := &fake{takes: time.Second}
	run(t, oneByOne(provider), func(account *Account) {
		account.Submit(requestFor("first", Expiry))
		synctest.Wait()
		account.Submit(requestFor("second", Expiry))
		account.Withdraw("second")
		pass(time.Minute)
		if got := provider.made(); !slices.Equal(got, []string{"first"}) {
			t.Errorf("calls %q, want only the first", got)
		}
	})
}

func TestUnconfirmedCallIsNotMade(t *testing.T) {
	provider := &fake{}
	run(t, config(provider), func(account *Account) {
		request := requestFor("a", Expiry)
		request.Confirm = func(context.Context) bool { return false }
		account.Submit(request)
		synctest.Wait()
		if got := provider.made(); len(got) != 0 {
			t.Errorf("calls %q, want none", got)
		}
		if _, there := account.Outcome("a"); there {
			t.Error("a call that was not made has an outcome")
		}
	})
}

func TestRateLimit(t *testing.T) {
	provider := &fake{}
	limited := config(provider)
	limited.Limits.Rate, limited.Limits.Burst = 1, 2
	run(t, limited, func(account *Account) {
		for i := range 5 {
			account.Submit(requestFor(strconv.Itoa(i), Expiry))
		}
		pass(time.Minute)
		want := []time.Duration{0, 0, time.Second, 2 * time.Second, 3 * time.Second}
		if got := provider.madeAt(); !slices.Equal(got, want) {
			t.Errorf("calls at %s, want %s", got, want)
		}
	})
}

func TestNewRateLimitAppliesAtOnce(t *testing.T) {
	provider := &fake{}
	slow := config(provider)
	slow.Limits.Rate, slow.Limits.Burst = rate.Every(time.Hour), 1
	run(t, slow, func(account *Account) {
		account.Submit(requestFor("a", Expiry))
		account.Submit(requestFor("b", Expiry))
		pass(time.Minute)
		fast := slow
		fast.Limits.Rate = 100
		account.Reconfigure(fast)
		pass(time.Minute)
		if got := len(provider.made()); got != 2 {
			t.Errorf("%d calls a minute after the limit was raised, want 2", got)
		}
	})
}

// TestRetryAfterAppliesToTheAccount checks that a Retry-After in the reply to one session delays the calls of all.
func TestRetryAfterAppliesToTheAccount(t *testing.T) {
	provider := &fake{result: func(id string) call.Result {
		if id == "throttled" {
			return call.Result{Outcome: v1alpha1.OutcomeThrottled, RetryAfter: 30 * time.Second}
		}
		return call.Result{Outcome: v1alpha1.OutcomeAccepted}
	}}
	run(t, config(provider), func(account *Account) {
		account.Submit(requestFor("throttled", Expiry))
		synctest.Wait()
		account.Submit(requestFor("other", Expiry))
		pass(time.Minute)
		if got := provider.madeAt(); !slices.Equal(got, []time.Duration{0, 30 * time.Second}) {
			t.Errorf("calls at %s, want the one of the other session after 30s", got)
		}
	})
}

func TestCallsInFlightAreFinishedOnShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		provider := &fake{takes: time.Second}
		account := New(config(provider))
		ctx, cancel := context.WithCancel(t.Context())
		go account.Run(ctx)
		account.Submit(requestFor("a", Expiry))
		synctest.Wait()
		cancel()
		<-account.Stopped()
		if got := account.Unacknowledged(); !slices.Equal(got, []types.UID{"a"}) {
			t.Errorf("outcomes of %q after the shutdown, want the one of the call in flight", got)
		}
	})
}

// TestForgottenSessionLeavesNoOutcome forgets a session whose call is in flight.
func TestForgottenSessionLeavesNoOutcome(t *testing.T) {
	provider := &fake{takes: time.Second}
	run(t, config(provider), func(account *Account) {
		account.Submit(requestFor("a", Expiry))
		synctest.Wait()
		account.Forget("a")
		pass(time.Minute)
		if got := account.Unacknowledged(); len(got) > 0 {
			t.Errorf("outcomes of %q, want none", got)
		}
	})
}

// TestOutcomesOfPreviousEndpointAreDropped edits a provider while a call is in flight and while an outcome is not
// acknowledged.
func TestOutcomesOfPreviousEndpointAreDropped(t *testing.T) {
	for reason, tc := range map[string]struct {
		endpoint string
		want     bool
	}{
		"another endpoint":                        {"https://other.example", false},
		"other credentials for the same endpoint": {"https://provider.example", true},
	} {
		t.Run(reason, func(t *testing.T) {
			provider := &fake{takes: time.Second}
			before := config(provider)
			before.Endpoint = "https://provider.example"
			run(t, before, func(account *Account) {
				var requeued atomic.Int32
				waiting, inFlight := requestFor("outcome waits", Expiry), requestFor("in flight", Expiry)
				inFlight.Requeue = func() { requeued.Add(1) }
				submit(account, waiting)
				pass(2 * time.Second)
				submit(account, inFlight)
				after := config(&fake{})
				after.Endpoint = tc.endpoint
				account.Reconfigure(after)
				pass(2 * time.Second)
				for _, session := range []types.UID{"outcome waits", "in flight"} {
					if _, there := account.Outcome(session); there != tc.want {
						t.Errorf("%s: has an outcome: %v, want %v", session, there, tc.want)
					}
				}
				if got := requeued.Load(); got != 1 {
					t.Errorf("the session was requeued %d times, want once, so that it submits its request again", got)
				}
			})
		})
	}
}

// TestFound checks which outcomes show that the provider knows a session, and that a change of credentials resets it.
func TestFound(t *testing.T) {
	provider := &fake{result: outcomes}
	run(t, config(provider), func(account *Account) {
		for _, outcome := range []v1alpha1.Outcome{
			v1alpha1.OutcomeNotFound, v1alpha1.OutcomeUnavailable, v1alpha1.OutcomeNotAllowed, v1alpha1.OutcomeRefused,
			v1alpha1.OutcomeAccepted,
		} {
			if submit(account, requestFor(string(outcome)+" 1", Expiry)); account.Found() {
				t.Fatalf("found after the outcome %s, want not", outcome)
			}
		}
		if submit(account, requestFor(string(v1alpha1.OutcomeUnsupported)+" 1", Expiry)); !account.Found() {
			t.Error("not found after the outcome Unsupported, which shows that the provider knows the session")
		}
		account.Reconfigure(config(&fake{}))
		if account.Found() {
			t.Error("found with credentials that were never used")
		}
	})
}
