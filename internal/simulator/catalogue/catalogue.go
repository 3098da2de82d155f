// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package catalogue makes simulated providers of classes and the examples beside them.
package catalogue

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/class"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
)

// Load returns the provider that a class's file and its examples describe.
func Load(ctx context.Context, path string) (*simulator.Described, error) {
	read, err := class.Load(ctx, path)
	if err != nil {
		return nil, err
	}
	examples, findings, err := class.ReadExamples(class.ExamplesPath(path))
	if err != nil {
		return nil, err
	}
	if class.HasErrors(findings) {
		return nil, fmt.Errorf("%s: %v", class.ExamplesPath(path), findings)
	}
	return describe(read, examples)
}

// states are the states of the books, by those of the operator.
var states = map[v1alpha1.SessionState]simulator.State{
	v1alpha1.SessionStateActive: simulator.Open, v1alpha1.SessionStateProcessing: simulator.Pending,
	v1alpha1.SessionStateCompleted: simulator.Paid, v1alpha1.SessionStateExpired: simulator.Expired,
	v1alpha1.SessionStateFailed: simulator.Failed,
}

func describe(of *class.Class, examples *class.Examples) (*simulator.Described, error) {
	made := &simulator.Described{
		Name: of.Name, SessionID: examples.SessionID, Keys: map[string]string{},
		Routes: map[string]string{
			simulator.Expire:  of.Spec.Expire.Method + " " + of.Spec.Expire.Path,
			simulator.Observe: of.Spec.Observe.Method + " " + of.Spec.Observe.Path,
		},
		Unknown: map[string]simulator.Reply{}, Shown: map[simulator.State]simulator.Reply{},
	}
	for _, key := range of.Spec.Credentials {
		if key.Optional {
			continue
		}
		value, err := class.SampleOf(key)
		if err != nil {
			return nil, err
		}
		made.Keys[key.Name] = value
	}
	for _, example := range slices.Backward(examples.Examples) {
		// The first example of a kind counts.
		take(made, example)
	}
	if made.Expired.Code == 0 || made.Shown[simulator.Open].Code == 0 {
		return nil, errors.New("the examples have no open session, or none that is expired")
	}
	for _, operation := range []string{simulator.Expire, simulator.Observe} {
		if made.Unknown[operation].Code == 0 {
			made.Unknown[operation] = simulator.Reply{Code: 422, Body: `{"message":"not documented"}`}
		}
	}
	if made.Refused.Code == 0 {
		made.Refused = made.Expired
	}
	if of.Spec.List != nil {
		list, described := lists[of.Name]
		if !described {
			return nil, fmt.Errorf("the class %s has a list that the simulator does not know", of.Name)
		}
		list.Route = "GET " + of.Spec.List.Path
		made.List = &list
	}
	return made, tokenPaths(of, made)
}

// take takes the reply of an example for what it shows.
func take(made *simulator.Described, example class.Example) {
	reply := replyOf(example.Reply)
	isExpire, want := example.Operation == v1alpha1.OperationExpire, example.Want
	switch {
	case want.Outcome == v1alpha1.OutcomeCredentialsRejected:
		made.Rejected = reply
	case want.Outcome == v1alpha1.OutcomeNotFound:
		made.Unknown[string(example.Operation)] = reply
	case isExpire && want.Outcome == v1alpha1.OutcomeRefused:
		made.Refused = reply
	case want.Outcome != v1alpha1.OutcomeAccepted:
	case isExpire:
		made.Expired = reply
	case !want.Unexpirable:
		made.Shown[states[want.State]] = reply
	}
}

func replyOf(reply class.Reply) simulator.Reply {
	made := simulator.Reply{Code: reply.Code, Header: map[string]string{}}
	maps.Copy(made.Header, reply.Headers)
	if reply.Body != nil {
		made.Header["Content-Type"] = "application/json"
	}
	if content := reply.Content(); len(content) > 0 {
		made.Body = string(content)
	}
	return made
}

// tokenPaths adds the paths of the token endpoint of each environment. With an endpoint of its own, a provider object
// gets its tokens below that.
func tokenPaths(of *class.Class, made *simulator.Described) error {
	for _, environment := range of.Spec.Environments {
		base, err := of.Definition.BaseURL(environment.Name, "http://provider.example")
		if err != nil {
			return err
		}
		var at *url.URL
		if at = of.Definition.TokenURL(environment.Name, "http://provider.example", base); at != nil {
			made.TokenPaths = append(made.TokenPaths, at.Path)
		}
	}
	return nil
}
