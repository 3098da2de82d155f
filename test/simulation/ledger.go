// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

// payment names a session at an endpoint of the provider.
type payment struct {
	site int
	id   string
}

func (p payment) is(other payment) bool { return p == other }

// ledger is the truth about one payment.
type ledger struct {
	// had holds every state that the payment has had.
	had map[v1alpha1.SessionState]bool
	// left is when it last had a state that it no longer has.
	left map[v1alpha1.SessionState]time.Time
	// reopened is when the provider last opened it again; zero for never.
	reopened time.Time
	variant  string
	// hidden is true where the next reads show the payment as it was before a change.
	hidden bool
	// endsTwice is true where the provider shows an end beside the payment, once it is paid.
	endsTwice bool
	// isOld is true where the provider shows the end as older versions of its API do.
	isOld bool
	// troubled is true once a fault, a payment or a late view was drawn for it, so that no call about it has to succeed.
	troubled bool
	// wanted is when an object last wanted it expired by spec.desiredState, and implied by a deletion or expireAt, which
	// the operator has to confirm by a live read.
	wanted, implied time.Time
	// tookOver is, by namespace, which object last kept it active, and until when.
	tookOver map[string]takeOver
	// objectGone is when an object of it was last removed.
	objectGone time.Time
	// shown is the state that the last read has shown; empty after a reply that shows none.
	shown v1alpha1.SessionState
	// unknownAt is when a reply last said that it does not exist; zero for never.
	unknownAt time.Time
	// missing holds the times of the replies in a row that said that it does not exist.
	missing []time.Time
	// missingFor are the endpoint and the credentials of these calls.
	missingFor string
	// recognizedAt is when an expire call was last answered as for a session that the provider knows; zero for never.
	// recognizedFor are the objects that named it then.
	recognizedAt  time.Time
	recognizedFor string
	// lastEnd is when the last call about it came back, with a reply or without.
	lastEnd time.Time
	// expireCalls and reads count the calls about it.
	expireCalls, reads int
}

// facts is what is known about one session object.
type facts struct {
	// protected is true once the object has had the finalizer, until deletionPolicy: Retain takes it away. forced is true
	// once a user has removed it.
	protected, forced bool
	// released is true once the operator has removed its finalizer during a deletion.
	released bool
	// held is true while the object has the finalizer of somebody else.
	held bool
	// touched is when a user last created or changed it, and edited when a user last changed it.
	touched, edited time.Time
	// deletedAt is when it was deleted; zero where it was not.
	deletedAt time.Time
	// tookOver is when it last kept its session active although another object of it was deleted.
	tookOver time.Time
	// fresh is true for the first object of a payment, where its spec wants the payment expired from the beginning.
	fresh bool
	// disturbed is true once anything has happened to it, its account or the cluster.
	disturbed bool
	// writes counts the operator's writes.
	writes int
	// wantedSince is when it began to want its session expired; zero while it does not.
	wantedSince time.Time
	// rejected is true once its status has said that the account is rejected.
	rejected bool
	// askedAt is when a refresh was requested.
	askedAt time.Time
	// burst counts the operator's writes since burstAt.
	burst   int
	burstAt time.Time
	// reasonSince is when the status got its present reason.
	reasonSince time.Time
	// messages are those of the present reason, and repeats counts how often one of them came back.
	messages map[string]bool
	repeats  int
	// seen is true once the status has shown a state.
	seen bool
}

// accountFacts is what is known about one provider object.
type accountFacts struct {
	// site is where its endpoint is, previous where it was before movedAt.
	site, previous int
	movedAt        time.Time
	// moves are all changes of site. The first site is 0.
	moves []move
	// observedAt is when the operator first wrote that it has seen the present spec.
	observedAt time.Time
	// renamedAt is when it last named another Secret, and keyedAt when its Secret last got other credentials.
	renamedAt, keyedAt time.Time
	// unneededAt is when no session needed the object any more, which is being deleted; zero while one does.
	unneededAt time.Time
	// goneAt is when the object was removed; zero while it exists.
	goneAt time.Time
	// foundWith holds the endpoints and the credentials with which it has found a session.
	foundWith map[string]bool
	// lost is true once the object or its Secret was removed.
	lost bool
	// rejections are the last rejections of its credentials, by the payment; trusted is true where a call was accepted
	// shortly before each of them.
	rejections map[string]time.Time
	trusted    bool
	// blocked is true from when these show that the account is rejected until an expire call is accepted.
	blocked bool
	// acceptedAt is when a call that no other account can have made was last accepted, and provenAt when an expire call
	// was, which proves most.
	acceptedAt, provenAt time.Time
	// troubled is when it last did not work well.
	troubled time.Time
}

// move is a change of the site that a provider object names.
type move struct {
	to int
	at time.Time
}

// named reports whether the provider object named a site at some time between two times.
func (a accountFacts) named(site int, from, to time.Time) bool {
	current, since := 0, time.Time{}
	for _, next := range append(slices.Clone(a.moves), move{at: to.Add(time.Nanosecond)}) {
		if current == site && !next.at.Before(from) && !since.After(to) {
			return true
		}
		current, since = next.to, next.at
	}
	return false
}

// ledgers holds the truth about all payments and objects. Its lock comes after the API server's.
type ledgers struct {
	mu sync.Mutex
	// foldCase is true where two ids that differ in case are one.
	foldCase bool
	payments map[payment]*ledger
	objects  map[types.UID]*facts
	accounts map[objectKey]*accountFacts
}

func newLedgers(foldCase bool) *ledgers {
	return &ledgers{
		foldCase: foldCase, payments: map[payment]*ledger{}, objects: map[types.UID]*facts{},
		accounts: map[objectKey]*accountFacts{},
	}
}

// fold returns the one form of an id.
func (l *ledgers) fold(id string) string {
	if l.foldCase {
		return strings.ToLower(id)
	}
	return id
}

// payment changes and copies the ledger of a payment.
func (l *ledgers) payment(at payment, change func(*ledger)) ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	at.id = l.fold(at.id)
	if l.payments[at] == nil {
		l.payments[at] = &ledger{had: map[v1alpha1.SessionState]bool{}, left: map[v1alpha1.SessionState]time.Time{}}
	}
	if change != nil {
		change(l.payments[at])
	}
	return *l.payments[at]
}

// had reports whether a payment has had a state.
func (l *ledgers) had(at payment, state v1alpha1.SessionState) bool {
	var had bool
	l.payment(at, func(known *ledger) { had = known.had[state] })
	return had
}

// object changes and copies the facts of an object.
func (l *ledgers) object(uid types.UID, change func(*facts)) facts {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.objects[uid] == nil {
		l.objects[uid] = &facts{}
	}
	if change != nil {
		change(l.objects[uid])
	}
	return *l.objects[uid]
}

// account changes and copies the facts of a provider object.
func (l *ledgers) account(key objectKey, change func(*accountFacts)) accountFacts {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.accounts[key] == nil {
		l.accounts[key] = &accountFacts{foundWith: map[string]bool{}, rejections: map[string]time.Time{}}
	}
	if change != nil {
		change(l.accounts[key])
	}
	return *l.accounts[key]
}

// disturbAll records that something has happened to the whole cluster or to the provider.
func (l *ledgers) disturbAll(accounts bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, known := range l.objects {
		known.disturbed = true
	}
	for _, known := range l.accounts {
		if accounts {
			known.troubled = time.Now()
		}
	}
}
