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
)

func TestWhatOpensTheBreaker(t *testing.T) {
	const (
		unavailable = string(v1alpha1.OutcomeUnavailable)
		accepted    = string(v1alpha1.OutcomeAccepted)
	)
	cases := []struct {
		reason string
		// calls is the number of calls with each outcome.
		calls map[string]int
		open  bool
	}{
		{"ten failed calls", map[string]int{unavailable: 10}, true},
		{"nine failed calls are too few", map[string]int{unavailable: 9}, false},
		{"eight of ten calls failed", map[string]int{accepted: 2, unavailable: 8}, true},
		{"seven of ten calls failed", map[string]int{accepted: 3, unavailable: 7}, false},
		{"Refused shows that the provider is available", map[string]int{string(v1alpha1.OutcomeRefused): 50}, false},
		{"NotAllowed does too", map[string]int{string(v1alpha1.OutcomeNotAllowed): 50}, false},
		{"NotFound does too", map[string]int{string(v1alpha1.OutcomeNotFound): 50}, false},
		{"Throttled does too", map[string]int{string(v1alpha1.OutcomeThrottled): 50}, false},
		{"UnexpectedResponse does too", map[string]int{string(v1alpha1.OutcomeUnexpectedResponse): 50}, false},
	}
	for _, tc := range cases {
		t.Run(tc.reason, func(t *testing.T) {
			provider := &fake{result: outcomes}
			run(t, oneByOne(provider), func(account *Account) {
				// The calls that failed are last.
				for _, outcome := range []string{
					accepted, string(v1alpha1.OutcomeRefused), string(v1alpha1.OutcomeNotAllowed), string(v1alpha1.OutcomeNotFound),
					string(v1alpha1.OutcomeThrottled), string(v1alpha1.OutcomeUnexpectedResponse), unavailable,
				} {
					for i := range tc.calls[outcome] {
						account.Submit(requestFor(outcome+" "+strconv.Itoa(i), Expiry))
					}
				}
				synctest.Wait()
				if open := !account.OutageSince().IsZero(); open != tc.open {
					t.Errorf("open is %v, want %v", open, tc.open)
				}
			})
		})
	}
}

// TestBreakerBacksOffToHalfAMinute checks the times of the trial calls during an outage, and that its begin and its end
// are reported once.
func TestBreakerBacksOffToHalfAMinute(t *testing.T) {
	provider := &fake{result: outcomes}
	var reports atomic.Int32
	watched := oneByOne(provider)
	watched.OnOutage = func() { reports.Add(1) }
	run(t, watched, func(account *Account) {
		for i := range 100 {
			account.Submit(requestFor(string(v1alpha1.OutcomeUnavailable)+" "+strconv.Itoa(i), Expiry))
		}
		pass(2 * time.Minute)
		seconds := func(n int) time.Duration { return time.Duration(n) * time.Second }
		want := append(make([]time.Duration, minCallsToOpen), seconds(5), seconds(15), seconds(35), seconds(65), seconds(95))
		if got := provider.madeAt(); !slices.Equal(got, want) {
			t.Errorf("calls at %s, want %s", got, want)
		}
		if since := account.OutageSince(); time.Since(since) != 2*time.Minute {
			t.Errorf("the outage has lasted for %s, want 2m", time.Since(since))
		}
		if got := reports.Load(); got != 1 {
			t.Errorf("reported %d times, want once", got)
		}
		provider.answer(nil)
		pass(maxOpen)
		if got := len(provider.made()); got != 100 || !account.OutageSince().IsZero() || reports.Load() != 2 {
			t.Errorf("%d calls, outage since %s, reported %d times; want 100 calls, no outage, and 2 reports", got,
				account.OutageSince(), reports.Load())
		}
	})
}

func TestOpenBreakerAdmitsOneCall(t *testing.T) {
	provider := &fake{takes: time.Second, result: outcomes}
	run(t, config(provider), func(account *Account) {
		for i := range 100 {
			account.Submit(requestFor(string(v1alpha1.OutcomeUnavailable)+" "+strconv.Itoa(i), Expiry))
		}
		pass(4 * time.Second)
		before := len(provider.made())
		provider.mu.Lock()
		provider.highest = 0
		provider.mu.Unlock()
		pass(time.Minute)
		if provider.highest != 1 || len(provider.made())-before > 5 {
			t.Errorf("%d calls in flight at once and %d in a minute, want 1 and at most 5", provider.highest,
				len(provider.made())-before)
		}
	})
}

// TestOpenBreakerCostsNoToken checks that requests that the breaker holds back use nothing of the rate limit.
func TestOpenBreakerCostsNoToken(t *testing.T) {
	provider := &fake{takes: 3 * time.Second, result: outcomes}
	slow := config(provider)
	slow.Limits.Rate, slow.Limits.Burst = rate.Every(time.Hour), 11
	run(t, slow, func(account *Account) {
		for i := range 20 {
			account.Submit(requestFor(string(v1alpha1.OutcomeUnavailable)+" "+strconv.Itoa(i), Expiry))
		}
		pass(30 * time.Minute)
		before := len(provider.made())
		if before < minCallsToOpen {
			t.Fatalf("%d calls, want at least %d", before, minCallsToOpen)
		}
		pass(time.Hour)
		if got := len(provider.made()); got != before+1 {
			t.Errorf("%d calls an hour later, want %d", got, before+1)
		}
	})
}

// TestUnconfirmedTrialCallIsPassedOn gives the trial call of an open breaker to a request that is not confirmed.
// Another request must get it.
func TestUnconfirmedTrialCallIsPassedOn(t *testing.T) {
	provider := &fake{result: outcomes}
	run(t, config(provider), func(account *Account) {
		for i := range minCallsToOpen {
			account.Submit(requestFor(string(v1alpha1.OutcomeUnavailable)+" "+strconv.Itoa(i), Expiry))
		}
		synctest.Wait()
		stale := requestFor("stale", Deletion)
		// Meanwhile the other requests find that the trial call is taken.
		stale.Confirm = func(context.Context) bool {
			pass(time.Second)
			return false
		}
		account.Submit(stale)
		account.Submit(requestFor(string(v1alpha1.OutcomeAccepted), Expiry))
		pass(minOpen + time.Second)
		synctest.Wait()
		if _, there := account.Outcome(types.UID(v1alpha1.OutcomeAccepted)); !there || !account.OutageSince().IsZero() {
			t.Errorf("outcome there: %v, outage since %s; want an outcome and no outage", there, account.OutageSince())
		}
	})
}

// TestNewEndpointIsTriedAtOnce changes the endpoint during an outage of the previous one.
func TestNewEndpointIsTriedAtOnce(t *testing.T) {
	down, up := &fake{result: outcomes}, &fake{}
	run(t, oneByOne(down), func(account *Account) {
		for i := range 20 {
			account.Submit(requestFor(string(v1alpha1.OutcomeUnavailable)+" "+strconv.Itoa(i), Expiry))
		}
		synctest.Wait()
		account.Reconfigure(oneByOne(up))
		synctest.Wait()
		if got := len(up.made()); got != 10 || !account.OutageSince().IsZero() {
			t.Errorf("%d calls to the new endpoint, outage since %s; want the 10 that waited, and no outage", got,
				account.OutageSince())
		}
	})
}

// TestQuietOutageIsForgotten has no session left that could make a trial call during an outage.
func TestQuietOutageIsForgotten(t *testing.T) {
	provider := &fake{result: outcomes}
	var reports atomic.Int32
	watched := oneByOne(provider)
	watched.OnOutage = func() { reports.Add(1) }
	run(t, watched, func(account *Account) {
		for i := range minCallsToOpen {
			account.Submit(requestFor(string(v1alpha1.OutcomeUnavailable)+" "+strconv.Itoa(i), Expiry))
		}
		pass(quietTime / 2)
		account.Submit(requestFor(string(v1alpha1.OutcomeUnavailable)+" again", Expiry))
		pass(quietTime - time.Second)
		if account.OutageSince().IsZero() || reports.Load() != 1 {
			t.Errorf("outage since %s, reported %d times; want an outage until there was no call for %s",
				account.OutageSince(), reports.Load(), quietTime)
		}
		pass(time.Second)
		synctest.Wait()
		if !account.OutageSince().IsZero() || reports.Load() != 2 {
			t.Errorf("outage since %s, reported %d times; want no outage and 2 reports", account.OutageSince(), reports.Load())
		}
		provider.answer(nil)
		account.Submit(requestFor("new", Expiry))
		synctest.Wait()
		if made := len(provider.made()); made != minCallsToOpen+2 {
			t.Errorf("%d calls, want %d: the new one at once", made, minCallsToOpen+2)
		}
	})
}
