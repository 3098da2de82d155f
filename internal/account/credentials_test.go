// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/upstream"
)

// rejectingOnly rejects the calls of the sessions that are named, and accepts all others.
func rejectingOnly(sessions ...string) func(string) upstream.Result {
	return func(id string) upstream.Result {
		if slices.Contains(sessions, id) {
			return rejecting(id)
		}
		return upstream.Result{Outcome: v1alpha1.OutcomeAccepted}
	}
}

// ask submits a call and acknowledges what came before.
func ask(account *Account, asked Call) {
	account.Acknowledge(asked.Session)
	account.Submit(asked)
	synctest.Wait()
}

// TestWhatRejectsTheAccount tells one session's rejection from the account's.
func TestWhatRejectsTheAccount(t *testing.T) {
	for reason, tc := range map[string]struct {
		// calls in their order; one that begins with "bad" is rejected, and "wait" lets 16 minutes pass.
		calls []string
		want  bool
	}{
		"the first call of all is rejected":                          {[]string{"bad 1"}, true},
		"one session is, another was just accepted":                  {[]string{"good", "bad 1"}, false},
		"one session is, time and again":                             {[]string{"good", "bad 1", "bad 1", "bad 1"}, false},
		"two sessions in a row are":                                  {[]string{"good", "bad 1", "bad 2"}, true},
		"two sessions are, and one was accepted in between":          {[]string{"good", "bad 1", "good", "bad 2"}, false},
		"one session is, and nothing was accepted for long":          {[]string{"good", "wait", "bad 1"}, true},
		"one session is, and another was accepted after a long gap":  {[]string{"good", "wait", "good", "bad 1"}, false},
		"two are that were rejected one by one before":               {[]string{"good", "bad 1", "good", "bad 2", "bad 1", "bad 2"}, false},
		"one that is known for it is, and nothing was accepted long": {[]string{"good", "bad 1", "wait", "bad 1"}, false},
		"one is, reads are accepted":                                 {[]string{"read", "bad 1"}, false},
		"one of those is, and a third":                               {[]string{"good", "bad 1", "good", "bad 2", "bad 3"}, true},
	} {
		t.Run(reason, func(t *testing.T) {
			provider := &fake{result: rejectingOnly("bad 1", "bad 2", "bad 3")}
			run(t, config(provider), func(account *Account) {
				for _, name := range tc.calls {
					if name == "wait" {
						pass(16 * time.Minute)
						continue
					}
					asked := call(name, Expiry)
					if name == "read" {
						asked.Operation = v1alpha1.OperationObserve
					}
					ask(account, asked)
				}
				if got := account.Rejected(); got != tc.want {
					t.Errorf("rejected: %v, want %v", got, tc.want)
				}
				if slices.Contains(tc.calls, "bad 1") && !account.NeedsCredentials() {
					t.Error("no other credentials are said to be needed")
				}
			})
		})
	}
}

// TestOneSessionsRejectionStopsNoOther has a provider that answers 401 about one session alone.
func TestOneSessionsRejectionStopsNoOther(t *testing.T) {
	provider := &fake{result: rejectingOnly("bad")}
	run(t, config(provider), func(account *Account) {
		ask(account, call("good", Expiry))
		ask(account, call("bad", Deletion))
		for i := range 20 {
			ask(account, call(strconv.Itoa(i), Expiry))
		}
		if got := len(provider.made()); got != 22 {
			t.Errorf("%d calls, want all 22", got)
		}
	})
}

// probing keeps sessions asking as the controller does: at once when they are woken, and by their own timers.
func probing(account *Account, sessions map[string]time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for name, every := range sessions {
		woken := make(chan struct{}, 1)
		asked := call(name, Expiry)
		asked.Wake = func() { signal(woken) }
		running.Go(func() {
			account.Submit(asked)
			timer := time.NewTicker(every)
			defer timer.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-timer.C:
				case <-woken:
					if !account.MayProbe(asked.Session) {
						account.Acknowledge(asked.Session)
						continue
					}
				}
				account.Acknowledge(asked.Session)
				account.Submit(asked)
			}
		})
	}
	return func() { cancel(); running.Wait() }
}

// TestProbesGoToTheSessionsInTurn has sessions that ask far more often than others, as deletions do.
func TestProbesGoToTheSessionsInTurn(t *testing.T) {
	provider := &fake{result: rejecting}
	run(t, config(provider), func(account *Account) {
		stop := probing(account, map[string]time.Duration{
			"deletion 1": time.Minute, "deletion 2": 5 * time.Minute, "patient 1": 10 * time.Minute, "patient 2": 6 * time.Hour,
		})
		pass(24 * time.Hour)
		stop()
		probes := map[string]int{}
		for _, id := range provider.made() {
			probes[id]++
		}
		fewest, most := slices.Min(slices.Collect(maps.Values(probes))), slices.Max(slices.Collect(maps.Values(probes)))
		if len(probes) != 4 || most-fewest > 2 {
			t.Errorf("probes by session: %v, want as many for each", probes)
		}
		if total := len(provider.made()); total < 130 || total > 160 {
			t.Errorf("%d calls in a day, want about one in 10 minutes", total)
		}
	})
}

// TestASessionThatIsAllowedAgainIsFoundBesideOneThatNeverIs ends a rejection for all sessions but one.
func TestASessionThatIsAllowedAgainIsFoundBesideOneThatNeverIs(t *testing.T) {
	provider := &fake{result: rejecting}
	run(t, config(provider), func(account *Account) {
		stop := probing(account, map[string]time.Duration{"never": time.Minute, "again": 10 * time.Minute})
		pass(time.Hour)
		provider.answer(rejectingOnly("never"))
		pass(time.Hour)
		stop()
		if account.Rejected() {
			t.Error("the account is still rejected, an hour after it is not any more")
		}
	})
}

// TestAFloodOfRefreshesKeepsToTheProbes lets a person ask for every one of many sessions while the account is rejected.
func TestAFloodOfRefreshesKeepsToTheProbes(t *testing.T) {
	provider := &fake{result: rejecting}
	run(t, config(provider), func(account *Account) {
		for round := range 6 {
			for i := range 100 {
				asked := call(strconv.Itoa(i), Expiry)
				asked.Refresh = true
				ask(account, asked)
			}
			if outcome, there := account.Outcome("99"); round > 0 && (!there || outcome.Made) {
				t.Errorf("outcome %+v, %v; want one that says that no call was made", outcome, there)
			}
			pass(refreshInterval)
		}
		if got := len(provider.made()); got > 7 {
			t.Errorf("%d calls within a minute, want one in %s", got, refreshInterval)
		}
	})
}

// TestAnOutcomeOfTheEndpointOfBeforeIsDropped edits a provider while a call is in flight, and while an outcome waits.
func TestAnOutcomeOfTheEndpointOfBeforeIsDropped(t *testing.T) {
	for reason, tc := range map[string]struct {
		endpoint string
		want     bool
	}{
		"another endpoint":                          {"https://other.example", false},
		"other credentials at the present endpoint": {"https://provider.example", true},
	} {
		t.Run(reason, func(t *testing.T) {
			provider := &fake{takes: time.Second}
			before := config(provider)
			before.Endpoint = "https://provider.example"
			run(t, before, func(account *Account) {
				var woken atomic.Int32
				waiting, flying := call("outcome waits", Expiry), call("in flight", Expiry)
				flying.Wake = func() { woken.Add(1) }
				ask(account, waiting)
				pass(2 * time.Second)
				ask(account, flying)
				after := config(&fake{})
				after.Endpoint = tc.endpoint
				account.Reconfigure(after)
				pass(2 * time.Second)
				for _, session := range []types.UID{"outcome waits", "in flight"} {
					if _, there := account.Outcome(session); there != tc.want {
						t.Errorf("%s: an outcome is there: %v, want %v", session, there, tc.want)
					}
				}
				if got := woken.Load(); got != 1 {
					t.Errorf("the session was woken %d times, want once: it must ask again", got)
				}
			})
		})
	}
}

// TestWhetherTheAccountHasFoundASession counts from the last change of endpoint and credentials.
func TestWhetherTheAccountHasFoundASession(t *testing.T) {
	provider := &fake{result: outcomes}
	run(t, config(provider), func(account *Account) {
		for _, outcome := range []v1alpha1.Outcome{v1alpha1.OutcomeNotFound, v1alpha1.OutcomeUnavailable, v1alpha1.OutcomeNotAllowed, v1alpha1.OutcomeRefused, v1alpha1.OutcomeAccepted} {
			if ask(account, call(string(outcome)+" 1", Expiry)); account.Found() {
				t.Fatalf("found a session by the outcome %s", outcome)
			}
		}
		if ask(account, call(string(v1alpha1.OutcomeUnsupported)+" 1", Expiry)); !account.Found() {
			t.Error("a session that cannot be expired by a call was found")
		}
		account.Reconfigure(config(&fake{}))
		if account.Found() {
			t.Error("found a session with credentials that were never used")
		}
	})
}

// TestTenantsTakeTurns has one tenant with very many deletions, and another with a few that come last.
func TestTenantsTakeTurns(t *testing.T) {
	provider := &fake{takes: time.Second}
	one := config(provider)
	one.Limits.Concurrency = 1
	run(t, one, func(account *Account) {
		of := func(tenant, name string, priority Priority) Call {
			asked := call(tenant+" "+name, priority)
			asked.Tenant = tenant
			return asked
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
				t.Errorf("%s waits behind the other tenant's calls: %q", name, made)
			}
		}
		if slices.Contains(made, "idle poll") {
			t.Error("a poll went ahead of deletions")
		}
		account.Withdraw("noisy 999")
		pass(2000 * time.Second)
		if got := len(provider.made()); got != 1005 {
			t.Errorf("%d calls, want all but the one that was withdrawn", got)
		}
	})
}

// TestACallThatIsAskedForAgainKeepsItsTurn has a controller that looks at a waiting session again and again.
func TestACallThatIsAskedForAgainKeepsItsTurn(t *testing.T) {
	provider := &fake{takes: time.Second}
	one := config(provider)
	one.Limits.Concurrency = 1
	run(t, one, func(account *Account) {
		quiet := call("quiet", Deletion)
		quiet.Tenant = "quiet"
		for i := range 100 {
			noisy := call("noisy "+strconv.Itoa(i), Deletion)
			noisy.Tenant = "noisy"
			account.Submit(noisy)
		}
		for range 20 {
			account.Submit(quiet)
			pass(500 * time.Millisecond)
			account.Acknowledge("quiet")
		}
		if !slices.Contains(provider.made(), "quiet") {
			t.Error("not called within 10 s, although the tenants take turns")
		}
	})
}

// TestOneTenantsDeletionsDoNotStarveAnothersExpiries mixes what is urgent in two ways.
func TestOneTenantsDeletionsDoNotStarveAnothersExpiries(t *testing.T) {
	provider := &fake{takes: time.Second}
	one := config(provider)
	one.Limits.Concurrency = 1
	run(t, one, func(account *Account) {
		for i := range 1000 {
			noisy := call("noisy "+strconv.Itoa(i), Deletion)
			noisy.Tenant = "noisy"
			account.Submit(noisy)
		}
		quiet := call("quiet", Expiry)
		quiet.Tenant = "quiet"
		account.Submit(quiet)
		pass(10 * time.Second)
		if !slices.Contains(provider.made(), "quiet") {
			t.Error("an expiry waits behind another tenant's deletions")
		}
	})
}

// TestRefreshesTakeNobodysTurn lets a person ask for one rejected session all the time, while the others are accepted again.
func TestRefreshesTakeNobodysTurn(t *testing.T) {
	provider := &fake{result: rejecting}
	run(t, config(provider), func(account *Account) {
		stop := probing(account, map[string]time.Duration{"bad": 10 * time.Minute, "good": 10 * time.Minute})
		pass(time.Minute)
		provider.answer(rejectingOnly("bad"))
		asked := call("bad", Expiry)
		asked.Refresh = true
		for range 60 {
			ask(account, asked)
			pass(time.Minute)
		}
		stop()
		if account.Rejected() {
			t.Error("still rejected after an hour of refreshes of one session")
		}
	})
}

// TestAPersonsReadTakesNoRejectionOfExpireCallsBack has a provider that lets everybody read.
func TestAPersonsReadTakesNoRejectionOfExpireCallsBack(t *testing.T) {
	provider := &fake{result: rejectingOnly("expire")}
	run(t, config(provider), func(account *Account) {
		ask(account, call("expire", Expiry))
		read := call("read", Expiry)
		read.Operation, read.Refresh = v1alpha1.OperationObserve, true
		ask(account, read)
		if !account.Rejected() {
			t.Error("a read that needs no key took back that expire calls are rejected")
		}
	})
}

// TestASessionThatDoesNotWantItsTurnPassesItOn has sessions that were suspended meanwhile.
func TestASessionThatDoesNotWantItsTurnPassesItOn(t *testing.T) {
	provider := &fake{result: rejecting}
	run(t, config(provider), func(account *Account) {
		ask(account, call("first", Expiry))
		for i := range 100 {
			suspended := call("suspended "+strconv.Itoa(i), Expiry)
			suspended.Wake = func() { go account.Withdraw(suspended.Session) }
			ask(account, suspended)
		}
		provider.answer(nil)
		stop := probing(account, map[string]time.Duration{"good": 5 * time.Minute})
		pass(21 * time.Minute)
		stop()
		if account.Rejected() {
			t.Error("still rejected: the turns of sessions that want none were waited for")
		}
	})
}

// TestAForgottenSessionLeavesNothing forgets a session whose call is in flight and comes back rejected.
func TestAForgottenSessionLeavesNothing(t *testing.T) {
	provider := &fake{result: rejectingOnly("gone"), takes: time.Second}
	run(t, config(provider), func(account *Account) {
		ask(account, call("good", Expiry))
		pass(2 * time.Second)
		ask(account, call("gone", Expiry))
		account.Forget("gone")
		pass(time.Minute)
		if account.NeedsCredentials() {
			t.Error("a session that is gone waits for other credentials")
		}
	})
}

// TestACallIsRepeatedAtItsOwnEndpointOnly rejects a call and finds, on reading the Secret again, that the endpoint is another one.
func TestACallIsRepeatedAtItsOwnEndpointOnly(t *testing.T) {
	before, after := &fake{result: rejecting}, &fake{}
	first := config(before)
	first.Endpoint = "before"
	var account *Account
	first.Refresh = func(context.Context) bool {
		other := config(after)
		other.Endpoint = "after"
		account.Reconfigure(other)
		return true
	}
	run(t, first, func(running *Account) {
		account = running
		ask(account, call("a", Expiry))
		if got := after.made(); len(got) > 0 {
			t.Errorf("calls %q to an endpoint for which nobody has confirmed them", got)
		}
		if _, there := account.Outcome("a"); there {
			t.Error("the outcome of the endpoint of before counts")
		}
	})
}

// TestReadsGoOnWhereOnlyExpireCallsAreRejected has two sessions whose expire calls are rejected, and others that are only read.
func TestReadsGoOnWhereOnlyExpireCallsAreRejected(t *testing.T) {
	provider := &fake{result: rejectingOnly("bad 1", "bad 2")}
	run(t, config(provider), func(account *Account) {
		stop := probing(account, map[string]time.Duration{"bad 1": 5 * time.Minute, "bad 2": 5 * time.Minute})
		pass(time.Minute)
		read := call("read", Poll)
		read.Operation = v1alpha1.OperationObserve
		for range 10 {
			ask(account, read)
			pass(10 * time.Minute)
		}
		stop()
		reads := 0
		for _, id := range provider.made() {
			if id == "read" {
				reads++
			}
		}
		if reads != 10 {
			t.Errorf("%d reads, want all 10: they are not rejected", reads)
		}
	})
}

// TestTurnsAreOfferedOn interrupts sessions that may probe, in each way that there is.
func TestTurnsAreOfferedOn(t *testing.T) {
	for reason, disturb := range map[string]func(*Account){
		"a refresh is withdrawn while another has the turn": func(account *Account) {
			refresh := call("a", Expiry)
			refresh.Refresh = true
			account.Acknowledge("a")
			account.Submit(refresh)
			account.Withdraw("a")
		},
		"the probe becomes another operation": func(account *Account) {
			read := call("b", Expiry)
			read.Operation = v1alpha1.OperationObserve
			account.Acknowledge("b")
			account.Submit(call("b", Expiry))
			account.Submit(read)
		},
		"nobody uses the turn": func(*Account) {},
	} {
		t.Run(reason, func(t *testing.T) {
			provider := &fake{result: rejecting}
			run(t, config(provider), func(account *Account) {
				var offered atomic.Int32
				for _, name := range []string{"a", "b", "c"} {
					asked := call(name, Expiry)
					asked.Wake = func() { offered.Add(1) }
					ask(account, asked)
				}
				pass(probeInterval + time.Second)
				before := offered.Load()
				disturb(account)
				pass(2 * probeInterval)
				if offered.Load() == before {
					t.Error("nobody was offered a turn any more")
				}
			})
		})
	}
}
