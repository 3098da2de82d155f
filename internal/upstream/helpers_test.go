// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"net/http"
	"testing"
	"time"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/call"
	"github.com/payops-dev/payment-session-operator/internal/httpx"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

const (
	expire  = v1alpha1.OperationExpire
	observe = v1alpha1.OperationObserve
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// compiled compiles a shipped class.
func compiled(t *testing.T, provider string) *Definition {
	t.Helper()
	definition, err := Compile(&gen.Class(provider).Spec)
	if err != nil {
		t.Fatal(err)
	}
	return definition
}

// idIn returns the id of the session that a reply is about, as the class reads it.
func idIn(definition *Definition, body string) string {
	decoded, _ := decode([]byte(body))
	values := map[string]any{"code": 200, "headers": map[string]string{}, "body": decoded, "now": noon}
	return activation{values: values}.id(definition.inReply)
}

// interpreted interprets a reply with a compiled class.
func interpreted(
	definition *Definition, credentials Credentials, operation v1alpha1.Operation, id string, reply *httpx.Reply,
) call.Result {
	return (&Endpoint{Definition: definition, Credentials: credentials}).interpret(
		operation, id, credentials, reply, nil, noon,
	)
}

// replyCase is a reply to a call, with the result that it must have.
type replyCase struct {
	provider  string
	reason    string
	operation v1alpha1.Operation
	code      int
	body      string
	outcome   v1alpha1.Outcome
	state     v1alpha1.SessionState
}

// checkReplies interprets each reply with the class of its provider.
func checkReplies(t *testing.T, cases []replyCase) {
	t.Helper()
	for _, tc := range cases {
		t.Run(tc.provider+"/"+tc.reason, func(t *testing.T) {
			definition := compiled(t, tc.provider)
			reply := &httpx.Reply{Code: tc.code, Header: http.Header{}, Body: []byte(tc.body)}
			result := interpreted(definition, nil, tc.operation, idIn(definition, tc.body), reply)
			if result.Outcome != tc.outcome || result.State != tc.state {
				t.Errorf("got %s, state %q (%s); want %s, state %q", result.Outcome, result.State, result.Message, tc.outcome,
					tc.state)
			}
		})
	}
}
