// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"maps"
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

func TestRejectedCredentialsAreProbed(t *testing.T) {
	provider := &fake{result: rejecting}
	rejected, recovered := 0, 0
	watched := config(provider)
	watched.OnRejected, watched.OnRecovered = func(context.Context) { rejected++ }, func(context.Context) { recovered++ }
	run(t, watched, func(account *Account) {
		for i := range 100 {
			account.Submit(requestFor(strconv.Itoa(i), Expiry))
			synctest.Wait()
			outcome, there := account.Outcome(types.UID(strconv.Itoa(i)))
			if !there || outcome.Result.Outcome != v1alpha1.OutcomeCredentialsRejected {
				t.Fatalf("session %d: outcome %+v, there: %v; want CredentialsRejected", i, outcome, there)
			}
		}
		if got := len(provider.made()); got != 1 || rejected != 1 {
			t.Errorf("%d calls, reported %d times; want 1 and once", got, rejected)
		}
		before := account.Epoch()
		pass(10 * time.Minute)
		synctest.Wait()
		provider.answer(nil)
		for i := range 100 {
			if session := strconv.Itoa(i); account.MayProbe(types.UID(session)) {
				submit(account, requestFor(session, Expiry))
			}
		}
		if got := len(provider.made()); got != 2 || recovered != 1 || account.Epoch() == before {
			t.Errorf("%d calls, recovered %d times, epoch %d after %d; want 2 calls, 1 recovery and a new epoch", got,
				recovered, account.Epoch(), before)
		}
	})
}

func TestProbeSurvivesAnotherSubmit(t *testing.T) {
	provider := &fake{result: rejecting}
	slow := config(provider)
	slow.Limits.Rate, slow.Limits.Burst = rate.Every(time.Minute), 1
	run(t, slow, func(account *Account) {
		account.Submit(requestFor("first", Expiry))
		synctest.Wait()
		pass(10 * time.Minute)
		synctest.Wait()
		account.Acknowledge("first")
		probe := requestFor("first", Expiry)
		account.Submit(probe)
		account.Submit(probe)
		pass(time.Minute)
		if got := provider.made(); !slices.Equal(got, []string{"first", "first"}) {
			t.Errorf("calls %q, want one probe", got)
		}
	})
}

// TestProbesGoToTheSessionsInTurn has sessions that submit far more often than others, as deletions do.
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
			t.Errorf("probes by session: %v, want about the same number for each", probes)
		}
		if total := len(provider.made()); total < 130 || total > 160 {
			t.Errorf("%d calls in a day, want about one every 10 minutes", total)
		}
	})
}

// TestOneRejectedSessionKeepsNoRejection has a provider that accepts the credentials again for all sessions but one.
func TestOneRejectedSessionKeepsNoRejection(t *testing.T) {
	provider := &fake{result: rejecting}
	run(t, config(provider), func(account *Account) {
		stop := probing(account, map[string]time.Duration{"never": time.Minute, "again": 10 * time.Minute})
		pass(time.Hour)
		provider.answer(rejectingOnly("never"))
		pass(time.Hour)
		stop()
		if account.Rejected() {
			t.Error("the account is still rejected, an hour after the provider accepts its credentials again")
		}
	})
}

func TestRefreshIsMadeDespiteRejection(t *testing.T) {
	provider := &fake{result: rejecting}
	run(t, config(provider), func(account *Account) {
		account.Submit(requestFor("a", Expiry))
		synctest.Wait()
		account.Acknowledge("a")
		refresh := requestFor("a", Expiry)
		refresh.Refresh = true
		account.Submit(refresh)
		synctest.Wait()
		if got := len(provider.made()); got != 2 {
			t.Errorf("%d calls, want 2 with the refresh", got)
		}
	})
}

// TestManyRefreshesAreLimited requests a refresh of each of many sessions, again and again, while the account is
// rejected.
func TestManyRefreshesAreLimited(t *testing.T) {
	provider := &fake{result: rejecting}
	run(t, config(provider), func(account *Account) {
		for round := range 6 {
			for i := range 100 {
				refresh := requestFor(strconv.Itoa(i), Expiry)
				refresh.Refresh = true
				submit(account, refresh)
			}
			if outcome, there := account.Outcome("99"); round > 0 && (!there || outcome.Made) {
				t.Errorf("outcome %+v, there: %v; want one for which no call was made", outcome, there)
			}
			pass(refreshInterval)
		}
		if got := len(provider.made()); got > 7 {
			t.Errorf("%d calls within a minute, want at most one every %s", got, refreshInterval)
		}
	})
}

// TestRefreshesTakeNoTurnOfOthers refreshes one rejected session all the time, while the others would be accepted
// again.
func TestRefreshesTakeNoTurnOfOthers(t *testing.T) {
	provider := &fake{result: rejecting}
	run(t, config(provider), func(account *Account) {
		stop := probing(account, map[string]time.Duration{"bad": 10 * time.Minute, "good": 10 * time.Minute})
		pass(time.Minute)
		provider.answer(rejectingOnly("bad"))
		refresh := requestFor("bad", Expiry)
		refresh.Refresh = true
		for range 60 {
			submit(account, refresh)
			pass(time.Minute)
		}
		stop()
		if account.Rejected() {
			t.Error("still rejected after an hour of refreshes of one session")
		}
	})
}

// TestProbeThatProvesNothingIsNotRepeatedFirst has a session whose replies nobody can interpret, and one that was
// rejected once and would be accepted by now.
func TestProbeThatProvesNothingIsNotRepeatedFirst(t *testing.T) {
	provider := &fake{result: rejecting}
	run(t, config(provider), func(account *Account) {
		submit(account, requestFor("good", Expiry))
		provider.answer(func(id string) call.Result {
			if id == "odd" {
				return call.Result{Outcome: v1alpha1.OutcomeUnexpectedResponse}
			}
			return call.Result{Outcome: v1alpha1.OutcomeAccepted}
		})
		stop := probing(account, map[string]time.Duration{"good": time.Minute, "odd": time.Minute})
		pass(4 * probeInterval)
		stop()
		if account.Rejected() {
			t.Error("still rejected: the session whose replies prove nothing takes every turn")
		}
	})
}

// TestUnusedTurnIsPassedOn has sessions that are suspended when it is their turn to probe.
func TestUnusedTurnIsPassedOn(t *testing.T) {
	provider := &fake{result: rejecting}
	run(t, config(provider), func(account *Account) {
		submit(account, requestFor("first", Expiry))
		for i := range 100 {
			suspended := requestFor("suspended "+strconv.Itoa(i), Expiry)
			suspended.Requeue = func() { go account.Withdraw(suspended.Session) }
			submit(account, suspended)
		}
		provider.answer(nil)
		stop := probing(account, map[string]time.Duration{"good": 5 * time.Minute})
		pass(21 * time.Minute)
		stop()
		if account.Rejected() {
			t.Error("still rejected: the account waited for sessions that do not use their turns")
		}
	})
}

// TestTurnsGoOnAfterADisturbance disturbs sessions that may probe in each possible way. Other sessions must still get
// their turns.
func TestTurnsGoOnAfterADisturbance(t *testing.T) {
	for reason, disturb := range map[string]func(*Account){
		"a refresh is withdrawn while another has the turn": func(account *Account) {
			refresh := requestFor("a", Expiry)
			refresh.Refresh = true
			account.Acknowledge("a")
			account.Submit(refresh)
			account.Withdraw("a")
		},
		"the probe becomes another operation": func(account *Account) {
			read := requestFor("b", Expiry)
			read.Operation = v1alpha1.OperationObserve
			account.Acknowledge("b")
			account.Submit(requestFor("b", Expiry))
			account.Submit(read)
		},
		"no session uses the turn": func(*Account) {},
	} {
		t.Run(reason, func(t *testing.T) {
			provider := &fake{result: rejecting}
			run(t, config(provider), func(account *Account) {
				var offered atomic.Int32
				for _, name := range []string{"a", "b", "c"} {
					request := requestFor(name, Expiry)
					request.Requeue = func() { offered.Add(1) }
					submit(account, request)
				}
				pass(probeInterval + time.Second)
				before := offered.Load()
				disturb(account)
				pass(2 * probeInterval)
				if offered.Load() == before {
					t.Error("no session was offered a turn after that")
				}
			})
		})
	}
}
