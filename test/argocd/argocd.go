// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package argocd runs the health checks and actions of config/argocd as Argo CD does: with the same Lua interpreter,
// the same few libraries, and the object as the global variable obj.
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
	// timeout ends a script with an endless loop.
	timeout = 10 * time.Second
)

// Folder returns the folder with the customizations of a kind. The kind "_" means every kind.
func Folder(kind string) string {
	return filepath.Join(gen.Root(), "config", "argocd", "resource_customizations", group, kind)
}

// Health is the result of a health check.
type Health struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

// HealthOf runs the health check of all kinds on an object.
func HealthOf(object map[string]any) (Health, error) {
	health := Health{}
	return health, run(filepath.Join(Folder("_"), "health.lua"), object, &health)
}

// Availability is the state of an action.
type Availability struct {
	Disabled bool `json:"disabled"`
}

// Actions returns the actions that Argo CD offers for a session.
func Actions(session map[string]any) (map[string]Availability, error) {
	actions := map[string]Availability{}
	return actions, run(actionPath("discovery.lua"), session, &actions)
}

// Act runs an action on a session, and returns the changed session.
func Act(name string, session map[string]any) (map[string]any, error) {
	changed := map[string]any{}
	return changed, run(actionPath(name, "action.lua"), session, &changed)
}

// actionPath returns the path of a script below the actions of a session.
func actionPath(elements ...string) string {
	return filepath.Join(append([]string{Folder("PaymentSession"), "actions"}, elements...)...)
}

// run runs a script and decodes the table that it returns into result.
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

// newState opens the libraries that Argo CD opens. Of os, there is only the date.
func newState() (*lua.LState, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	var failures []error
	for name, open := range map[string]lua.LGFunction{
		lua.LoadLibName: lua.OpenPackage, lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable,
	} {
		call := lua.P{Fn: state.NewFunction(open), Protect: true}
		failures = append(failures, state.CallByParam(call, lua.LString(name)))
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

// plain converts integers, which gopher-json cannot convert, to the float64 that Lua uses.
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
