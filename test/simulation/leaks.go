// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"bytes"
	"reflect"
	"runtime"
	"strings"
	"unsafe"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

// checkLeaks refuses that a process remembers anything about sessions that no longer exist, or provider objects that
// do not. It searches all maps that the process's controllers hold, whatever their names.
func (w *world) checkLeaks(process *process) {
	present := map[string]bool{}
	for _, of := range w.everySession() {
		present[string(of.UID)], present[client.ObjectKeyFromObject(of).String()] = true, true
	}
	for _, of := range w.sweeps() {
		present[string(of.UID)], present[client.ObjectKeyFromObject(of).String()] = true, true
	}
	search := &leakSearch{seen: map[unsafe.Pointer]bool{}, found: func(path, key string) {
		sweep, _, _ := strings.Cut(key, "/")
		if !present[key] && !present[sweep] {
			w.findf("%s still has %s, which no longer exists", path, key)
		}
	}}
	for _, runnable := range process.runnables {
		search.visit(reflect.ValueOf(runnable), "process")
	}
}

// checkAccountsLeft refuses that the account of a provider object that is gone still runs.
func (w *world) checkAccountsLeft() {
	stacks := make([]byte, 4<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	present := 0
	if w.strays != nil {
		present++
	}
	for _, key := range w.accountKeys() {
		if w.providerAt(key) != nil {
			present++
		}
	}
	if running := bytes.Count(stacks, []byte("internal/account.(*Account).Run(")); running > present {
		w.findf("%d accounts run, and there are %d provider objects", running, present)
	}
}

// leakSearch walks through values and reports the keys of maps that name sessions.
type leakSearch struct {
	seen  map[unsafe.Pointer]bool
	found func(path, key string)
}

var nameType = reflect.TypeFor[types.NamespacedName]()

// ours reports whether a type belongs to the operator, or leads to what does.
func ours(t reflect.Type) bool {
	const module = "github.com/payops-dev/payment-session-operator"
	path := t.PkgPath()
	return path == "" || strings.HasPrefix(path, module) && !strings.HasPrefix(path, module+"/test/") ||
		strings.HasPrefix(path, "sigs.k8s.io/controller-runtime/pkg/internal/controller") || path == "sync/atomic"
}

func (s *leakSearch) visit(value reflect.Value, path string) {
	switch value.Kind() {
	case reflect.Pointer:
		if value.IsNil() || s.seen[value.UnsafePointer()] || !ours(value.Type().Elem()) {
			return
		}
		s.seen[value.UnsafePointer()] = true
		s.visit(value.Elem(), path)
	case reflect.Interface:
		if !value.IsNil() {
			s.visit(value.Elem(), path)
		}
	case reflect.Struct:
		if !ours(value.Type()) {
			return
		}
		for i := range value.NumField() {
			s.visit(value.Field(i), path+"."+value.Type().Field(i).Name)
		}
	case reflect.Slice, reflect.Array:
		for i := range value.Len() {
			s.visit(value.Index(i), path)
		}
	case reflect.Map:
		for entry := value.MapRange(); entry.Next(); {
			s.key(entry.Key(), path)
			s.visit(entry.Value(), path+"[]")
		}
	default:
	}
}

// key reports a key that names a session: by its UID, or by its name where the value is about one.
func (s *leakSearch) key(key reflect.Value, path string) {
	switch {
	case key.Kind() == reflect.String && strings.HasPrefix(key.String(), v1alpha1.KindPaymentSession+"-"):
		s.found(path, key.String())
	case key.Type() == nameType:
		s.found(path, key.Field(0).String()+"/"+key.Field(1).String())
	}
}
