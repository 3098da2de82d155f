// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/upstream"
)

// outcomes answers each call with the outcome that its session's name begins with.
func outcomes(sessionID string) upstream.Result {
	outcome, _, _ := strings.Cut(sessionID, " ")
	return upstream.Result{Outcome: v1alpha1.Outcome(outcome), RetryAfter: 0}
}

// oneByOne makes the accounts of these tests call in a fixed order.
func oneByOne(provider *fake) Config {
	single := config(provider)
	single.Limits.Concurrency = 1
	return single
}

func TestWhatOpensTheBreaker(t *testing.T) {
	const (
		unavailable = string(v1alpha1.OutcomeUnavailable)
		accepted    = string(v1alpha1.OutcomeAccepted)
	)
	cases := []struct {
		reason string
		// ended are the calls before, in their order.
		ended map[string]int
		open  bool
	}{
		{"ten calls, all in vain", map[string]int{unavailable: 10}, true},
		{"nine are too few to judge by", map[string]int{unavailable: 9}, false},
		{"eight of ten", map[string]int{accepted: 2, unavailable: 8}, true},
		{"seven of ten", map[string]int{accepted: 3, unavailable: 7}, false},
		{"a provider that refuses is there", map[string]int{string(v1alpha1.OutcomeRefused): 50}, false},
		{"one that rejects the credentials is there", map[string]int{string(v1alpha1.OutcomeNotAllowed): 50}, false},
		{"one that does not know a session is there", map[string]int{string(v1alpha1.OutcomeNotFound): 50}, false},
		{"one that throttles is there", map[string]int{string(v1alpha1.OutcomeThrottled): 50}, false},
		{"one whose replies make no sense is there", map[string]int{string(v1alpha1.OutcomeUnexpectedResponse): 50}, false},
	}
	for _, tc := range cases {
		t.Run(tc.reason, func(t *testing.T) {
			provider := &fake{result: outcomes}
			run(t, oneByOne(provider), func(account *Account) {
				for _, outcome := range []string{accepted, string(v1alpha1.OutcomeRefused), string(v1alpha1.OutcomeNotAllowed), string(v1alpha1.OutcomeNotFound), string(v1alpha1.OutcomeThrottled), string(v1alpha1.OutcomeUnexpectedResponse), unavailable} {
					for i := range tc.ended[outcome] {
						account.Submit(call(outcome+" "+strconv.Itoa(i), Expiry))
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

func TestTheBreakerTriesAgainEverMoreRarelyUpToHalfAMinute(t *testing.T) {
	provider := &fake{result: outcomes}
	var told atomic.Int32
	watched := oneByOne(provider)
	watched.Outage = func() { told.Add(1) }
	run(t, watched, func(account *Account) {
		for i := range 100 {
			account.Submit(call(string(v1alpha1.OutcomeUnavailable)+" "+strconv.Itoa(i), Expiry))
		}
		pass(2 * time.Minute)
		seconds := func(n int) time.Duration { return time.Duration(n) * time.Second }
		want := append(make([]time.Duration, minCallsToOpen), seconds(5), seconds(15), seconds(35), seconds(65), seconds(95))
		if got := provider.madeAt(); !slices.Equal(got, want) {
			t.Errorf("calls at %s, want %s", got, want)
		}
		if since := account.OutageSince(); time.Since(since) != 2*time.Minute {
			t.Errorf("the outage is said to last for %s, want 2m", time.Since(since))
		}
		if got := told.Load(); got != 1 {
			t.Errorf("told %d times, want once", got)
		}
		provider.answer(nil)
		pass(maxOpen)
		if got := len(provider.made()); got != 100 || !account.OutageSince().IsZero() || told.Load() != 2 {
			t.Errorf("%d calls, outage since %s, told %d times; want all 100 calls at once after the first good one", got, account.OutageSince(), told.Load())
		}
	})
}

func TestOneCallAtATimeTriesWhetherTheProviderIsBack(t *testing.T) {
	provider := &fake{takes: time.Second, result: outcomes}
	run(t, config(provider), func(account *Account) {
		for i := range 100 {
			account.Submit(call(string(v1alpha1.OutcomeUnavailable)+" "+strconv.Itoa(i), Expiry))
		}
		pass(4 * time.Second)
		before := len(provider.made())
		provider.mu.Lock()
		provider.highest = 0
		provider.mu.Unlock()
		pass(time.Minute)
		if provider.highest != 1 || len(provider.made())-before > 5 {
			t.Errorf("%d calls in flight at once and %d in a minute, want one at a time and few", provider.highest, len(provider.made())-before)
		}
	})
}

func TestAnOpenBreakerCostsNoToken(t *testing.T) {
	provider := &fake{takes: 3 * time.Second, result: outcomes}
	slow := config(provider)
	slow.Limits.Rate, slow.Limits.Burst = rate.Every(time.Hour), 11
	run(t, slow, func(account *Account) {
		for i := range 20 {
			account.Submit(call(string(v1alpha1.OutcomeUnavailable)+" "+strconv.Itoa(i), Expiry))
		}
		pass(30 * time.Minute)
		before := len(provider.made())
		if before < minCallsToOpen {
			t.Fatalf("%d calls, want at least %d", before, minCallsToOpen)
		}
		pass(time.Hour)
		if got := len(provider.made()); got != before+1 {
			t.Errorf("%d calls an hour later, want one more than %d", got, before)
		}
	})
}

func TestACallThatIsNotConfirmedLetsTheNextOneTry(t *testing.T) {
	provider := &fake{result: outcomes}
	run(t, config(provider), func(account *Account) {
		for i := range minCallsToOpen {
			account.Submit(call(string(v1alpha1.OutcomeUnavailable)+" "+strconv.Itoa(i), Expiry))
		}
		synctest.Wait()
		stale := call("stale", Deletion)
		// The others find the one place for a try taken meanwhile.
		stale.Confirm = func(context.Context) bool {
			pass(time.Second)
			return false
		}
		account.Submit(stale)
		account.Submit(call(string(v1alpha1.OutcomeAccepted), Expiry))
		pass(minOpen + time.Second)
		synctest.Wait()
		if _, there := account.Outcome(types.UID(v1alpha1.OutcomeAccepted)); !there || !account.OutageSince().IsZero() {
			t.Errorf("outcome there %v, outage since %s; want the call made", there, account.OutageSince())
		}
	})
}

func TestAnotherEndpointIsTriedAtOnce(t *testing.T) {
	down, up := &fake{result: outcomes}, &fake{}
	run(t, oneByOne(down), func(account *Account) {
		for i := range 20 {
			account.Submit(call(string(v1alpha1.OutcomeUnavailable)+" "+strconv.Itoa(i), Expiry))
		}
		synctest.Wait()
		account.Reconfigure(oneByOne(up))
		synctest.Wait()
		if got := len(up.made()); got != 10 || !account.OutageSince().IsZero() {
			t.Errorf("%d calls to the other endpoint, outage since %s; want the 10 that waited", got, account.OutageSince())
		}
	})
}

// TestAnOutageThatNobodyAsksAboutIsForgotten lets the last session that could try go while the provider is away.
func TestAnOutageThatNobodyAsksAboutIsForgotten(t *testing.T) {
	provider := &fake{result: outcomes}
	var told atomic.Int32
	watched := oneByOne(provider)
	watched.Outage = func() { told.Add(1) }
	run(t, watched, func(account *Account) {
		for i := range minCallsToOpen {
			account.Submit(call(string(v1alpha1.OutcomeUnavailable)+" "+strconv.Itoa(i), Expiry))
		}
		pass(quietTime / 2)
		account.Submit(call(string(v1alpha1.OutcomeUnavailable)+" again", Expiry))
		pass(quietTime - time.Second)
		if account.OutageSince().IsZero() || told.Load() != 1 {
			t.Errorf("outage since %s, told %d times; want an outage until there was no call for %s", account.OutageSince(), told.Load(), quietTime)
		}
		pass(time.Second)
		synctest.Wait()
		if !account.OutageSince().IsZero() || told.Load() != 2 {
			t.Errorf("outage since %s, told %d times; want none any more", account.OutageSince(), told.Load())
		}
		provider.answer(nil)
		account.Submit(call("new", Expiry))
		synctest.Wait()
		if made := len(provider.made()); made != minCallsToOpen+2 {
			t.Errorf("%d calls, want the new one made at once", made)
		}
	})
}
