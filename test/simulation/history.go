// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"flag"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/payops-dev/payment-session-operator/test/gen"
)

// plan is everything that is drawn for a history. The rest follows from it.
type plan struct {
	Seed     uint64 `json:"seed"`
	Policy   bool   `json:"policy"`
	DryRun   bool   `json:"dryRun"`
	Provider string `json:"provider"`
	// Favourite is the number of the account that most sessions use.
	Favourite int `json:"favourite"`
	// Tight accounts may make a call in 3 s, and Serial ones have one call in flight, so that requests queue up.
	Tight  bool `json:"tight"`
	Serial bool `json:"serial"`
	// Patient histories wait at their end until the longest backoff is over. The others change the accounts instead,
	// after which everything is tried at once.
	Patient bool `json:"patient"`
	// Sweeps says that applications open payments without an object, and that there may be sweeps.
	Sweeps bool   `json:"sweeps"`
	Steps  []step `json:"steps"`
}

// step is one action, after a pause. What the action leaves open follows from its salt.
type step struct {
	Pause  time.Duration `json:"pause"`
	Action string        `json:"action"`
	Salt   uint64        `json:"salt"`
}

// roll returns a number from 0 up to n, which is the same for the same step and subject.
func (s step) roll(subject string, n int) int {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(subject))
	// The low bits of the hash alone are alike for all subjects.
	return rand.New(rand.NewPCG(s.Salt, hash.Sum64())).IntN(n)
}

// choose returns one of several values, which is the same for the same step and subject.
func choose[T any](s step, subject string, from ...T) T { return from[s.roll(subject, len(from))] }

// pauses are the times between two actions, from a moment to days. Long ones are rare: a manager polls meanwhile, which
// takes the time that other histories could have.
var pauses = weighted(map[time.Duration]int{
	0: 12, 3 * time.Millisecond: 12, 40 * time.Millisecond: 12, 300 * time.Millisecond: 12, time.Second: 12,
	3 * time.Second: 12, 12 * time.Second: 16, 35 * time.Second: 12, 2 * time.Minute: 10, 11 * time.Minute: 6,
	time.Hour: 2, 7 * time.Hour: 1,
})

// only are the actions that histories choose from, for a search with a suspicion.
var only = flag.String("only", "", "Choose from these actions only, separated by commas.")

// longest is the number of steps of which a history keeps about half.
const longest = 30

// drawPlan draws a history. All steps follow from the seed, and rapid draws which of them happen: the numbers that
// rapid draws are mostly small, and the steps that it leaves out do not change the others.
func drawPlan(t *rapid.T) plan {
	seed := rapid.Uint64().Draw(t, "seed")
	kept := rapid.SliceOfN(rapid.Bool(), longest, longest).Draw(t, "kept")
	random := rand.New(rand.NewPCG(seed, 1))
	drawn := plan{
		Seed: seed, Policy: random.IntN(2) == 0, DryRun: random.IntN(12) == 0, Patient: random.IntN(5) == 0,
		Tight: random.IntN(3) == 0, Serial: random.IntN(4) == 0,
		Provider: gen.Providers[random.IntN(len(gen.Providers))], Favourite: random.IntN(4),
	}
	names := drawActions(random)
	if *only == "" && random.IntN(5) == 0 {
		names = sweepThemes[random.IntN(len(sweepThemes))]
	}
	drawn.Sweeps = slices.ContainsFunc(names, func(name string) bool {
		return sweepActions[name].do != nil || ownedActions[name].do != nil
	})
	// Without a session most actions do nothing.
	first := "create"
	switch {
	case slices.Contains(names, "register stray"):
		first = "register stray"
	case drawn.Sweeps:
		first = "create sweep"
	}
	drawn.Steps = []step{{Action: first, Salt: random.Uint64()}}
	for _, keep := range kept {
		next := step{
			Action: names[random.IntN(len(names))], Pause: pauses[random.IntN(len(pauses))], Salt: random.Uint64(),
		}
		if keep {
			drawn.Steps = append(drawn.Steps, next)
		}
	}
	return drawn
}

// drawActions draws the actions that a history chooses from. What is rare among all of them happens again and again in
// a history that has only a few: https://doi.org/10.1145/2338965.2336763 calls that swarm testing. Most
// histories have the actions of one theme, so that they meet.
func drawActions(random *rand.Rand) []string {
	if *only != "" {
		return strings.Split(*only, ",")
	}
	few, others := []string{"create", "create"}, focuses[len(focuses)-1]
	switch random.IntN(8) {
	case 0:
		return focuses[random.IntN(len(focuses))]
	case 1:
		for range 2 + random.IntN(5) {
			few = append(few, others[random.IntN(len(others))])
		}
		return few
	default:
		return append(append(few, themes[random.IntN(len(themes))]...), others[random.IntN(len(others))])
	}
}

// epoch is when histories begin. The API admits no times before 2020, and a bubble's clock begins in 2000.
var epoch = time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)

// run runs a history in a bubble, and returns the world with its story and findings.
func (p plan) run() *world {
	// The bubble's clock jumps.
	time.Sleep(time.Until(epoch))
	w := newWorld(p)
	for _, namespace := range append([]string{operatorNamespace}, namespaces...) {
		w.createAccounts(namespace)
	}
	w.start()
	for _, step := range p.Steps {
		w.pass(step.Pause)
		actions[step.Action].do(w, step)
	}
	w.checkLate()
	w.checkBudget()
	w.heal(p.Patient || w.haunted != "")
	w.healSweeps()
	w.checkAtRest()
	w.checkSweepsAtRest()
	w.checkIdle()
	w.checkAccountsLeft()
	w.cancel()
	w.background.Wait()
	last := w.running()[0]
	w.end((*process).stop)
	// Its maps may be read only once it has ended.
	w.checkLeaks(last)
	for _, site := range w.sites {
		site.upstreams.Close()
	}
	return w
}

// pass lets time pass, and checks what is late again and again in the first hour.
func (w *world) pass(pause time.Duration) {
	const often = 2 * time.Minute
	for range 30 {
		if pause <= often {
			break
		}
		sleep(w.ctx, often)
		w.checkLate()
		pause -= often
	}
	if pause > 0 {
		sleep(w.ctx, pause)
	}
	w.checkLate()
}

func (w *world) alive() bool { return w.ctx.Err() == nil }
