// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/call"
)

// TestWhatRejectsTheAccount separates the rejection of one session from that of the whole account.
func TestWhatRejectsTheAccount(t *testing.T) {
	for reason, tc := range map[string]struct {
		// calls are in order. One that begins with "bad" is rejected. At "wait", 16 minutes pass.
		calls []string
		want  bool
	}{
		"the very first call":                          {[]string{"bad 1"}, true},
		"one session, shortly after an accepted call":  {[]string{"good", "bad 1"}, false},
		"one session, several times":                   {[]string{"good", "bad 1", "bad 1", "bad 1"}, false},
		"two sessions in a row":                        {[]string{"good", "bad 1", "bad 2"}, true},
		"two sessions, with an accepted call between":  {[]string{"good", "bad 1", "good", "bad 2"}, false},
		"one session, long after the last accepted":    {[]string{"good", "wait", "bad 1"}, true},
		"one session, shortly after a late acceptance": {[]string{"good", "wait", "good", "bad 1"}, false},
		"two sessions that were both rejected before": {
			[]string{"good", "bad 1", "good", "bad 2", "bad 1", "bad 2"}, false,
		},
		"one session that was rejected before, long after the last accepted": {
			[]string{"good", "bad 1", "wait", "bad 1"}, false,
		},
		"one session, after an accepted read": {[]string{"read", "bad 1"}, false},
		"a session that was rejected before, and then a new one": {
			[]string{"good", "bad 1", "good", "bad 2", "bad 3"}, true,
		},
	} {
		t.Run(reason, func(t *testing.T) {
			provider := &fake{result: rejectingOnly("bad 1", "bad 2", "bad 3")}
			run(t, config(provider), func(account *Account) {
				for _, name := range tc.calls {
					if name == "wait" {
						pass(16 * time.Minute)
						continue
					}
					request := requestFor(name, Expiry)
					if name == "read" {
						request.Operation = v1alpha1.OperationObserve
					}
					submit(account, request)
				}
				if got := account.Rejected(); got != tc.want {
					t.Errorf("rejected: %v, want %v", got, tc.want)
				}
				if slices.Contains(tc.calls, "bad 1") && !account.NeedsCredentials() {
					t.Error("the account does not report that it needs other credentials")
				}
			})
		})
	}
}

// TestOneSessionsRejectionStopsNoOther has a provider that rejects the credentials for one session only.
func TestOneSessionsRejectionStopsNoOther(t *testing.T) {
	provider := &fake{result: rejectingOnly("bad")}
	run(t, config(provider), func(account *Account) {
		submit(account, requestFor("good", Expiry))
		submit(account, requestFor("bad", Deletion))
		for i := range 20 {
			submit(account, requestFor(strconv.Itoa(i), Expiry))
		}
		if got := len(provider.made()); got != 22 {
			t.Errorf("%d calls, want all 22", got)
		}
	})
}

// TestTwoObjectsOfOneSessionAreOneRejection has two objects of one session, which the provider rejects, as during a
// rename in Git.
func TestTwoObjectsOfOneSessionAreOneRejection(t *testing.T) {
	provider := &fake{result: rejectingOnly("bad", "BAD")}
	run(t, config(provider), func(account *Account) {
		submit(account, requestFor("good", Expiry))
		submit(account, requestFor("bad", Deletion))
		renamed := requestFor("renamed", Expiry)
		renamed.SessionID = "BAD"
		submit(account, renamed)
		if account.Rejected() {
			t.Error("the account is rejected because of two objects of one session")
		}
		pass(2 * trust)
		again := requestFor("renamed again", Expiry)
		again.SessionID = "bad"
		submit(account, again)
		if account.Rejected() {
			t.Error("the account is rejected because of another object of a session that is known for its rejection")
		}
	})
}

// TestReadsAreProbedBesideExpireCalls has a session whose expire calls are rejected for ever. It takes most turns. The
// reads of others, which were rejected for a while, must get a turn nevertheless.
func TestReadsAreProbedBesideExpireCalls(t *testing.T) {
	provider := &fake{result: rejecting}
	read := func(id string) Request {
		poll := requestFor(id, Poll)
		poll.Operation = v1alpha1.OperationObserve
		return poll
	}
	run(t, config(provider), func(account *Account) {
		submit(account, requestFor("stuck", Expiry))
		submit(account, read("reader"))
		provider.answer(rejectingOnly("stuck"))
		for range 60 {
			pass(time.Minute)
			submit(account, requestFor("stuck", Expiry))
			submit(account, read("reader"))
		}
		submit(account, read("another"))
		if got := provider.made(); !slices.Contains(got, "another") {
			t.Errorf("calls %q, want another session's read among them: reads are accepted again", got)
		}
	})
}

func TestCredentialsAreReloadedBeforeRejection(t *testing.T) {
	old, fixed := &fake{result: rejecting}, &fake{}
	first := config(old)
	var account *Account
	first.ReloadCredentials = func(context.Context) bool {
		account.Reconfigure(config(fixed))
		return true
	}
	run(t, first, func(running *Account) {
		account = running
		account.Submit(requestFor("a", Expiry))
		synctest.Wait()
		outcome, _ := account.Outcome("a")
		if outcome.Result.Outcome != v1alpha1.OutcomeAccepted || outcome.AccountEpoch != account.Epoch() {
			t.Errorf("outcome %+v at epoch %d, want it accepted with the fixed credentials", outcome, account.Epoch())
		}
	})
}

// TestCallIsRepeatedOnlyAtItsEndpoint changes the endpoint while the Secret is read again after a rejection.
func TestCallIsRepeatedOnlyAtItsEndpoint(t *testing.T) {
	before, after := &fake{result: rejecting}, &fake{}
	first := config(before)
	first.Endpoint = "before"
	var account *Account
	first.ReloadCredentials = func(context.Context) bool {
		other := config(after)
		other.Endpoint = "after"
		account.Reconfigure(other)
		return true
	}
	run(t, first, func(running *Account) {
		account = running
		submit(account, requestFor("a", Expiry))
		if got := after.made(); len(got) > 0 {
			t.Errorf("calls %q to an endpoint for which they were not confirmed, want none", got)
		}
		if _, there := account.Outcome("a"); there {
			t.Error("the session has an outcome of the previous endpoint")
		}
	})
}

func TestNotAllowedNeedsOtherCredentials(t *testing.T) {
	provider := &fake{result: outcomes}
	reports := 0
	watched := config(provider)
	watched.OnRejected = func(context.Context) { reports++ }
	run(t, watched, func(account *Account) {
		for _, id := range []string{"a", "b"} {
			account.Submit(requestFor(string(v1alpha1.OutcomeNotAllowed)+" "+id, Expiry))
			synctest.Wait()
		}
		if !account.NeedsCredentials() || account.Rejected() || reports != 1 {
			t.Errorf("needs credentials: %v, rejected: %v, reported %d times; want true, false and once",
				account.NeedsCredentials(), account.Rejected(), reports)
		}
		account.Reconfigure(config(&fake{}))
		if account.NeedsCredentials() {
			t.Error("the account still needs other credentials after it got them")
		}
	})
}

func TestQueuedRequestsAreDeclinedOnRejection(t *testing.T) {
	provider := &fake{takes: time.Second, result: rejecting}
	run(t, config(provider), func(account *Account) {
		for i := range 100 {
			account.Submit(requestFor(strconv.Itoa(i), Expiry))
		}
		pass(time.Minute)
		if got := len(provider.made()); got != 4 {
			t.Errorf("%d calls, want the 4 that were in flight", got)
		}
		if got := len(account.Unacknowledged()); got != 100 {
			t.Errorf("%d sessions have an outcome, want all 100", got)
		}
	})
}

// TestForgottenSessionLeavesNoRejection forgets a session whose call is in flight and is then rejected.
func TestForgottenSessionLeavesNoRejection(t *testing.T) {
	provider := &fake{result: rejectingOnly("gone"), takes: time.Second}
	run(t, config(provider), func(account *Account) {
		submit(account, requestFor("good", Expiry))
		pass(2 * time.Second)
		submit(account, requestFor("gone", Expiry))
		account.Forget("gone")
		pass(time.Minute)
		if account.NeedsCredentials() {
			t.Error("the account needs other credentials for a session that was forgotten")
		}
	})
}

// TestAcceptedReadsEndNoRejection has a provider that accepts every read and rejects the credentials of expire calls.
func TestAcceptedReadsEndNoRejection(t *testing.T) {
	provider := &fake{result: func(id string) call.Result {
		if strings.HasPrefix(id, "expire") {
			return rejecting(id)
		}
		return call.Result{Outcome: v1alpha1.OutcomeAccepted}
	}, takes: time.Second}
	read := func(id string) Request {
		poll := requestFor(id, Poll)
		poll.Operation = v1alpha1.OperationObserve
		return poll
	}
	run(t, config(provider), func(account *Account) {
		before := account.Epoch()
		account.Submit(requestFor("expire", Expiry))
		pass(time.Second / 2)
		account.Submit(read("in flight meanwhile"))
		pass(time.Minute)
		if !account.Rejected() || account.Epoch() != before {
			t.Error("a read that was in flight ended the rejection")
		}
		account.Submit(read("later"))
		for !account.MayProbe("expire") {
			pass(time.Second)
		}
		submit(account, requestFor("expire", Expiry))
		pass(time.Minute)
		want := []string{"expire", "in flight meanwhile", "later", "expire"}
		if got := provider.made(); !slices.Equal(got, want) || !account.Rejected() {
			t.Errorf("calls %q, rejected: %v; want %q, with the expire call as the probe, and true", got, account.Rejected(),
				want)
		}
		account.Forget("expire")
		pass(3 * probeInterval)
		account.Submit(read("last"))
		pass(time.Minute)
		if account.Rejected() {
			t.Error("still rejected, although no session has a rejected request and reads are accepted")
		}
	})
}

// TestRefreshEndsNoRejectionOfExpireCalls has a provider that accepts every read.
func TestRefreshEndsNoRejectionOfExpireCalls(t *testing.T) {
	provider := &fake{result: rejectingOnly("expire")}
	run(t, config(provider), func(account *Account) {
		submit(account, requestFor("expire", Expiry))
		read := requestFor("read", Expiry)
		read.Operation, read.Refresh = v1alpha1.OperationObserve, true
		submit(account, read)
		if !account.Rejected() {
			t.Error("a read, which needs no credentials here, ended the rejection of expire calls")
		}
	})
}

// TestReadsContinueWhileExpireIsRejected has two sessions whose expire calls are rejected, and others that are only
// read.
func TestReadsContinueWhileExpireIsRejected(t *testing.T) {
	provider := &fake{result: rejectingOnly("bad 1", "bad 2")}
	run(t, config(provider), func(account *Account) {
		stop := probing(account, map[string]time.Duration{"bad 1": 5 * time.Minute, "bad 2": 5 * time.Minute})
		pass(time.Minute)
		read := requestFor("read", Poll)
		read.Operation = v1alpha1.OperationObserve
		for range 10 {
			submit(account, read)
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
			t.Errorf("%d reads, want 10, because reads are not rejected", reads)
		}
	})
}
