// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/upstream"
)

// fake is an upstream that takes its time and keeps a log. Its clock is the synctest bubble's.
type fake struct {
	takes  time.Duration
	result func(sessionID string) upstream.Result

	mu      sync.Mutex
	calls   []string
	at      []time.Time
	flying  int
	highest int
}

func (f *fake) Call(_ context.Context, _ v1alpha1.Operation, sessionID string) upstream.Result {
	f.mu.Lock()
	f.calls, f.at = append(f.calls, sessionID), append(f.at, time.Now())
	f.flying++
	f.highest = max(f.highest, f.flying)
	f.mu.Unlock()
	pass(f.takes)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flying--
	if result := f.result; result != nil {
		return result(sessionID)
	}
	return upstream.Result{Outcome: v1alpha1.OutcomeAccepted, State: v1alpha1.SessionStateExpired}
}

// pass lets time pass in the bubble of synctest, where it takes none.
func pass(duration time.Duration) { <-time.After(duration) }

func (f *fake) answer(result func(string) upstream.Result) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.result = result
}

// madeAt are the times of the calls since the first.
func (f *fake) madeAt() []time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	var since []time.Duration
	for _, at := range f.at {
		since = append(since, at.Sub(f.at[0]).Round(time.Millisecond))
	}
	return since
}

func (f *fake) made() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

func rejecting(string) upstream.Result {
	return upstream.Result{Outcome: v1alpha1.OutcomeCredentialsRejected}
}

func config(provider *fake) Config {
	return Config{Upstream: provider, Limits: Limits{Rate: rate.Inf, Burst: 1, Concurrency: 4}}
}

// run runs an account in a bubble until the test ends.
func run(t *testing.T, config Config, test func(*Account)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		account := New(config)
		ctx, cancel := context.WithCancel(t.Context())
		go account.Run(ctx)
		test(account)
		cancel()
		<-account.Stopped()
	})
}

func call(name string, priority Priority) Call {
	return Call{Session: types.UID(name), SessionID: name, Operation: v1alpha1.OperationExpire, Priority: priority, Wake: func() {}}
}

func TestAnOutcomeStaysUntilItIsAcknowledged(t *testing.T) {
	provider := &fake{}
	run(t, config(provider), func(account *Account) {
		woken := 0
		asked := call("a", Expiry)
		asked.Wake = func() { woken++ }
		account.Submit(asked)
		synctest.Wait()
		account.Submit(asked)
		synctest.Wait()
		if got := provider.made(); len(got) != 1 {
			t.Errorf("%d calls before the first outcome was acknowledged, want 1", len(got))
		}
		if outcome, there := account.Outcome("a"); !there || outcome.Result.State != v1alpha1.SessionStateExpired {
			t.Errorf("outcome %+v, %v", outcome, there)
		}
		if woken != 1 {
			t.Errorf("woken %d times, want once", woken)
		}
		account.Acknowledge("a")
		account.Submit(asked)
		synctest.Wait()
		if got := provider.made(); len(got) != 2 {
			t.Errorf("%d calls after it was acknowledged, want 2", len(got))
		}
	})
}

func TestNoMoreInFlightThanAllowed(t *testing.T) {
	provider := &fake{takes: time.Second}
	run(t, config(provider), func(account *Account) {
		for i := range 20 {
			account.Submit(call(strconv.Itoa(i), Expiry))
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

func TestDeletionsAndExpiriesGoAheadOfPolls(t *testing.T) {
	provider := &fake{takes: time.Second}
	one := config(provider)
	one.Limits.Concurrency = 1
	run(t, one, func(account *Account) {
		account.Submit(call("first", Poll))
		synctest.Wait()
		account.Submit(call("poll 1", Poll))
		account.Submit(call("poll 2", Poll))
		account.Submit(call("expiry 1", Expiry))
		account.Submit(call("expiry 2", Expiry))
		account.Submit(call("deletion", Deletion))
		account.Submit(call("poll 2", Deletion))
		pass(time.Minute)
		want := []string{"first", "poll 2", "deletion", "expiry 1", "expiry 2", "poll 1"}
		if got := provider.made(); !slices.Equal(got, want) {
			t.Errorf("calls in the order %q, want %q", got, want)
		}
	})
}

func TestAWishThatChangedTakesItsCallBack(t *testing.T) {
	provider := &fake{takes: time.Second}
	one := config(provider)
	one.Limits.Concurrency = 1
	run(t, one, func(account *Account) {
		account.Submit(call("first", Expiry))
		synctest.Wait()
		account.Submit(call("second", Expiry))
		account.Withdraw("second")
		pass(time.Minute)
		if got := provider.made(); !slices.Equal(got, []string{"first"}) {
			t.Errorf("calls %q, want the first alone", got)
		}
	})
}

func TestACallThatIsNotConfirmedIsNotMade(t *testing.T) {
	provider := &fake{}
	run(t, config(provider), func(account *Account) {
		asked := call("a", Expiry)
		asked.Confirm = func(context.Context) bool { return false }
		account.Submit(asked)
		synctest.Wait()
		if got := provider.made(); len(got) != 0 {
			t.Errorf("calls %q, want none", got)
		}
		if _, there := account.Outcome("a"); there {
			t.Error("there is an outcome of a call that was not made")
		}
	})
}

func TestRateLimit(t *testing.T) {
	provider := &fake{}
	limited := config(provider)
	limited.Limits.Rate, limited.Limits.Burst = 1, 2
	run(t, limited, func(account *Account) {
		for i := range 5 {
			account.Submit(call(strconv.Itoa(i), Expiry))
		}
		pass(time.Minute)
		want := []time.Duration{0, 0, time.Second, 2 * time.Second, 3 * time.Second}
		if got := provider.madeAt(); !slices.Equal(got, want) {
			t.Errorf("calls at %s, want %s", got, want)
		}
	})
}

func TestAnotherRateLimitCountsAtOnce(t *testing.T) {
	provider := &fake{}
	slow := config(provider)
	slow.Limits.Rate, slow.Limits.Burst = rate.Every(time.Hour), 1
	run(t, slow, func(account *Account) {
		account.Submit(call("a", Expiry))
		account.Submit(call("b", Expiry))
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

func TestRetryAfterIsKeptForTheAccount(t *testing.T) {
	provider := &fake{result: func(id string) upstream.Result {
		if id == "throttled" {
			return upstream.Result{Outcome: v1alpha1.OutcomeThrottled, RetryAfter: 30 * time.Second}
		}
		return upstream.Result{Outcome: v1alpha1.OutcomeAccepted}
	}}
	run(t, config(provider), func(account *Account) {
		account.Submit(call("throttled", Expiry))
		synctest.Wait()
		account.Submit(call("other", Expiry))
		pass(time.Minute)
		if got := provider.madeAt(); !slices.Equal(got, []time.Duration{0, 30 * time.Second}) {
			t.Errorf("calls at %s, want the other session's after 30s", got)
		}
	})
}

func TestRejectedCredentialsAreProbedAndNotHammered(t *testing.T) {
	provider := &fake{result: rejecting}
	rejected, recovered := 0, 0
	watched := config(provider)
	watched.Rejected, watched.Recovered = func(context.Context) { rejected++ }, func(context.Context) { recovered++ }
	run(t, watched, func(account *Account) {
		for i := range 100 {
			account.Submit(call(strconv.Itoa(i), Expiry))
			synctest.Wait()
			if outcome, there := account.Outcome(types.UID(strconv.Itoa(i))); !there || outcome.Result.Outcome != v1alpha1.OutcomeCredentialsRejected {
				t.Fatalf("session %d: outcome %+v, %v", i, outcome, there)
			}
		}
		if got := len(provider.made()); got != 1 || rejected != 1 {
			t.Errorf("%d calls and told %d times, want 1 and 1", got, rejected)
		}
		before := account.Epoch()
		pass(10 * time.Minute)
		synctest.Wait()
		provider.answer(nil)
		for i := range 100 {
			if session := strconv.Itoa(i); account.MayProbe(types.UID(session)) {
				ask(account, call(session, Expiry))
			}
		}
		if got := len(provider.made()); got != 2 || recovered != 1 || account.Epoch() == before {
			t.Errorf("%d calls, recovered %d times, epoch %d after %d; want 2 calls, 1 recovery and another epoch", got, recovered, account.Epoch(), before)
		}
	})
}

// TestAReadThatNeedsNoKeyTakesNoRejectionBack has a provider that lets everybody read, and rejects the key of an expire call.
func TestAReadThatNeedsNoKeyTakesNoRejectionBack(t *testing.T) {
	provider := &fake{result: func(id string) upstream.Result {
		if strings.HasPrefix(id, "expire") {
			return rejecting(id)
		}
		return upstream.Result{Outcome: v1alpha1.OutcomeAccepted}
	}, takes: time.Second}
	read := func(id string) Call {
		poll := call(id, Poll)
		poll.Operation = v1alpha1.OperationObserve
		return poll
	}
	run(t, config(provider), func(account *Account) {
		before := account.Epoch()
		account.Submit(call("expire", Expiry))
		pass(time.Second / 2)
		account.Submit(read("in flight meanwhile"))
		pass(time.Minute)
		if !account.Rejected() || account.Epoch() != before {
			t.Error("a read that was in flight took the rejection back")
		}
		account.Submit(read("goes on"))
		for !account.MayProbe("expire") {
			pass(time.Second)
		}
		ask(account, call("expire", Expiry))
		pass(time.Minute)
		if got := provider.made(); !slices.Equal(got, []string{"expire", "in flight meanwhile", "goes on", "expire"}) || !account.Rejected() {
			t.Errorf("calls %q, rejected: %v; want the expire call as the probe, and reads that go on", got, account.Rejected())
		}
		account.Forget("expire")
		pass(3 * probeInterval)
		account.Submit(read("nobody else is there"))
		pass(time.Minute)
		if account.Rejected() {
			t.Error("still rejected, although nobody asks for what was, and reads are answered")
		}
	})
}

func TestACallThatAPersonAsksForIsMadeAlthoughItMayBeRejected(t *testing.T) {
	provider := &fake{result: rejecting}
	run(t, config(provider), func(account *Account) {
		account.Submit(call("a", Expiry))
		synctest.Wait()
		account.Acknowledge("a")
		asked := call("a", Expiry)
		asked.Refresh = true
		account.Submit(asked)
		synctest.Wait()
		if got := len(provider.made()); got != 2 {
			t.Errorf("%d calls, want the one that was asked for made", got)
		}
	})
}

func TestCredentialsAreReadAgainBeforeARejectionCounts(t *testing.T) {
	old, mended := &fake{result: rejecting}, &fake{}
	first := config(old)
	var account *Account
	first.Refresh = func(context.Context) bool {
		account.Reconfigure(config(mended))
		return true
	}
	run(t, first, func(running *Account) {
		account = running
		account.Submit(call("a", Expiry))
		synctest.Wait()
		outcome, _ := account.Outcome("a")
		if outcome.Result.Outcome != v1alpha1.OutcomeAccepted || outcome.Epoch != account.Epoch() {
			t.Errorf("outcome %+v at epoch %d, want it accepted with the mended credentials", outcome, account.Epoch())
		}
	})
}

func TestACallThatIsNotAllowedLetsTheSecretBeReadHurriedly(t *testing.T) {
	provider := &fake{result: outcomes}
	told := 0
	watched := config(provider)
	watched.Rejected = func(context.Context) { told++ }
	run(t, watched, func(account *Account) {
		for _, id := range []string{"a", "b"} {
			account.Submit(call(string(v1alpha1.OutcomeNotAllowed)+" "+id, Expiry))
			synctest.Wait()
		}
		if !account.NeedsCredentials() || account.Rejected() || told != 1 {
			t.Errorf("needs others: %v, rejected: %v, told %d times; want true, false and once", account.NeedsCredentials(), account.Rejected(), told)
		}
		mended := config(&fake{})
		account.Reconfigure(mended)
		if account.NeedsCredentials() {
			t.Error("other credentials are still said to be needed")
		}
	})
}

func TestCallsInFlightAreFinishedOnShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		provider := &fake{takes: time.Second}
		account := New(config(provider))
		ctx, cancel := context.WithCancel(t.Context())
		go account.Run(ctx)
		account.Submit(call("a", Expiry))
		synctest.Wait()
		cancel()
		<-account.Stopped()
		if got := account.Unacknowledged(); !slices.Equal(got, []types.UID{"a"}) {
			t.Errorf("outcomes of %q after the shutdown, want that of the call in flight", got)
		}
	})
}

func TestWhatWasQueuedBeforeARejectionIsNotSentAfterIt(t *testing.T) {
	provider := &fake{takes: time.Second, result: rejecting}
	run(t, config(provider), func(account *Account) {
		for i := range 100 {
			account.Submit(call(strconv.Itoa(i), Expiry))
		}
		pass(time.Minute)
		if got := len(provider.made()); got != 4 {
			t.Errorf("%d calls, want the 4 that were in flight at once", got)
		}
		if got := len(account.Unacknowledged()); got != 100 {
			t.Errorf("%d sessions have an outcome, want all 100", got)
		}
	})
}

func TestAProbeIsNotLostByAnotherWake(t *testing.T) {
	provider := &fake{result: rejecting}
	slow := config(provider)
	slow.Limits.Rate, slow.Limits.Burst = rate.Every(time.Minute), 1
	run(t, slow, func(account *Account) {
		account.Submit(call("first", Expiry))
		synctest.Wait()
		pass(10 * time.Minute)
		synctest.Wait()
		account.Acknowledge("first")
		probe := call("first", Expiry)
		account.Submit(probe)
		account.Submit(probe)
		pass(time.Minute)
		if got := provider.made(); !slices.Equal(got, []string{"first", "first"}) {
			t.Errorf("calls %q, want one probe", got)
		}
	})
}

func TestAForgottenSessionLeavesNoOutcome(t *testing.T) {
	provider := &fake{takes: time.Second}
	run(t, config(provider), func(account *Account) {
		account.Submit(call("a", Expiry))
		synctest.Wait()
		account.Forget("a")
		pass(time.Minute)
		if got := account.Unacknowledged(); len(got) > 0 {
			t.Errorf("outcomes of %q", got)
		}
	})
}
