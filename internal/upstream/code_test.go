// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"net/http"
	"testing"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/httpx"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// withCodes returns a class whose code is in the body, and whose expiry is answered with code 407, as Midtrans does.
func withCodes(t *testing.T) *Definition {
	t.Helper()
	spec := gen.Class("circle").Spec
	spec.SessionID.InReply = ""
	spec.Code = "int(body.status_code)"
	spec.UnknownSession = "body.text == 'none'"
	spec.Outcomes = []v1alpha1.OutcomeRule{{When: "code == 407", Outcome: v1alpha1.OutcomeAccepted}}
	spec.State = v1alpha1.StateMapping{
		Status: "body.state", Words: map[string]v1alpha1.StateWord{"open": "active", "over": "expired"},
		Overrides: []v1alpha1.StateOverride{{When: "status == 'over' && body.paid > 0", State: "completed"}},
	}
	definition, err := Compile(&spec)
	if err != nil {
		t.Fatal(err)
	}
	return definition
}

// TestCodeInTheBody reads the code from the body. It can make a success a failure, and not the other way round.
func TestCodeInTheBody(t *testing.T) {
	cases := []struct {
		reason string
		status int
		body   string
		want   v1alpha1.Outcome
	}{
		{"200 with 200", 200, `{"status_code":"200","state":"open"}`, v1alpha1.OutcomeAccepted},
		{"200 with 404", 200, `{"status_code":"404","text":"none"}`, v1alpha1.OutcomeNotFound},
		{"200 with 401", 200, `{"status_code":"401"}`, v1alpha1.OutcomeCredentialsRejected},
		{"200 with 500", 200, `{"status_code":"500"}`, v1alpha1.OutcomeUnavailable},
		{"200 with 407, which a rule accepts", 200, `{"status_code":"407","state":"open"}`, v1alpha1.OutcomeAccepted},
		{"200 without a code", 200, `{"state":"open"}`, v1alpha1.OutcomeAccepted},
		{"401 with 401", 401, `{"status_code":"401"}`, v1alpha1.OutcomeCredentialsRejected},
		{"401 with 200", 401, `{"status_code":"200","state":"open"}`, v1alpha1.OutcomeCredentialsRejected},
		{"500 with the body of an expiry", 500, `{"status_code":"407","state":"over"}`, v1alpha1.OutcomeUnavailable},
		{"429 with the body of a success", 429, `{"status_code":"200","state":"open"}`, v1alpha1.OutcomeThrottled},
		{"408 with the body of a success", 408, `{"status_code":"200","state":"open"}`, v1alpha1.OutcomeUnavailable},
	}
	for _, tc := range cases {
		reply := &httpx.Reply{Code: tc.status, Header: http.Header{}, Body: []byte(tc.body)}
		if result := interpreted(withCodes(t), nil, observe, "1", reply); result.Outcome != tc.want {
			t.Errorf("%s: %s (%s), want %s", tc.reason, result.Outcome, result.Message, tc.want)
		}
	}
}

// TestOverrideThatCannotBeEvaluated has replies that lack what an override looks for. A reply to expire then proves no
// end. A read is all that there is, and its word counts.
func TestOverrideThatCannotBeEvaluated(t *testing.T) {
	cases := []struct {
		reason    string
		operation v1alpha1.Operation
		body      string
		want      v1alpha1.SessionState
	}{
		{"the reply to expire lacks the amount: no state", expire, `{"state":"over"}`, v1alpha1.SessionStateUnknown},
		{"the reply to expire shows that nothing was paid", expire, `{"state":"over","paid":0}`, v1alpha1.SessionStateExpired},
		{"the reply to expire shows money", expire, `{"state":"over","paid":5}`, v1alpha1.SessionStateCompleted},
		{"the reply to expire shows it open: the override is not about that", expire, `{"state":"open"}`,
			v1alpha1.SessionStateActive},
		{"a read that lacks the amount", observe, `{"state":"over"}`, v1alpha1.SessionStateExpired},
	}
	for _, tc := range cases {
		reply := &httpx.Reply{Code: 200, Header: http.Header{}, Body: []byte(tc.body)}
		result := interpreted(withCodes(t), nil, tc.operation, "1", reply)
		if result.Outcome != v1alpha1.OutcomeAccepted || result.State != tc.want {
			t.Errorf("%s: %s, state %q; want Accepted, state %q", tc.reason, result.Outcome, result.State, tc.want)
		}
	}
}
