// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package argocd runs the health checks and actions of config/argocd as Argo CD does: with the same Lua, the same few libraries,
// and the object as the global obj.
package argocd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	lua "github.com/yuin/gopher-lua"
	luajson "layeh.com/gopher-json"
	"sigs.k8s.io/yaml"

	"github.com/payops-dev/payment-session-operator/test/gen"
)

const (
	group = "payments.payops.dev"
	// timeout is for a script that never ends.
	timeout = 10 * time.Second
)

// Folder is where the customizations of a kind are; "_" stands for every kind.
func Folder(kind string) string {
	return filepath.Join(gen.Root(), "config", "argocd", "resource_customizations", group, kind)
}

// Health is what a health check says.
type Health struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

// HealthOf runs the health check of all kinds on an object.
func HealthOf(object map[string]any) (Health, error) {
	health := Health{}
	return health, run(filepath.Join(Folder("_"), "health.lua"), object, &health)
}

// Availability of an action.
type Availability struct {
	Disabled bool `json:"disabled"`
}

// Actions are those that Argo CD offers for a session.
func Actions(session map[string]any) (map[string]Availability, error) {
	actions := map[string]Availability{}
	return actions, run(filepath.Join(Folder("PaymentSession"), "actions", "discovery.lua"), session, &actions)
}

// Act runs an action on a session, and gives the session that it makes of it.
func Act(name string, session map[string]any) (map[string]any, error) {
	changed := map[string]any{}
	return changed, run(filepath.Join(Folder("PaymentSession"), "actions", name, "action.lua"), session, &changed)
}

// run runs a script and reads the table that it returns into result.
func run(path string, object map[string]any, result any) error {
	script, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	state, err := newState()
	if err != nil {
		return err
	}
	defer state.Close()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	state.SetContext(ctx)
	state.SetGlobal("obj", luajson.DecodeValue(state, plain(object)))
	if err := state.DoString(string(script)); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	table, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return fmt.Errorf("%s returns no table", path)
	}
	text, err := luajson.Encode(table)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return yaml.Unmarshal(text, result)
}

// newState opens what Argo CD opens: of os it passes on the clock alone.
func newState() (*lua.LState, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	var failures []error
	for name, open := range map[string]lua.LGFunction{lua.LoadLibName: lua.OpenPackage, lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable} {
		failures = append(failures, state.CallByParam(lua.P{Fn: state.NewFunction(open), Protect: true}, lua.LString(name)))
	}
	state.PreloadModule("os", func(state *lua.LState) int {
		clock := state.NewTable()
		state.SetField(clock, "date", state.NewFunction(func(state *lua.LState) int {
			state.Push(lua.LString(time.Now().UTC().Format(time.RFC3339)))
			return 1
		}))
		state.Push(clock)
		return 1
	})
	return state, errors.Join(failures...)
}

// plain turns what Kubernetes decodes numbers to into what Lua knows.
func plain(value any) any {
	switch value := value.(type) {
	case map[string]any:
		copied := map[string]any{}
		for key, element := range value {
			copied[key] = plain(element)
		}
		return copied
	case []any:
		copied := make([]any, 0, len(value))
		for _, element := range value {
			copied = append(copied, plain(element))
		}
		return copied
	case int64:
		return float64(value)
	default:
		return value
	}
}
