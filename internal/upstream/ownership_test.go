// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/httpx"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// TestInvalidOwnership compiles rules that are wrong, or that could be true for every session or namespace.
func TestInvalidOwnership(t *testing.T) {
	const valid = "session.reference"
	for _, tc := range []struct {
		reason      string
		owner, self v1alpha1.Expression
		problem     string
	}{
		{"the owner is no CEL", "session.", "", "Syntax error"},
		{"the owner is no text", "size(session.tags)", "", "the result is int, want string"},
		{"the owner is a condition", "session.reference == 'shop'", "", "the result is bool, want string"},
		{"the owner is always the same", "'shop'", "", "it does not depend on the session"},
		{"the owner uses the namespace, so that it would be another one in each", "namespaceObject.metadata.name", "",
			"undeclared reference"},
		{"the owner uses the cluster, so that the mark would not have to", "cluster.name + session.reference", "",
			"undeclared reference"},
		{"the owner uses a field that a session does not have", "session.owner", "", "a session has no field owner"},
		{"the word is the same for every namespace", valid, "cluster.name", "it does not depend on the namespace"},
		{"the word is a constant", valid, "'shop'", "it does not depend on the namespace"},
		{"the word uses the session, so that it would be true for all", valid, "session.reference", "undeclared reference"},
		{"an owner that a typo makes always the same", "session.tags.?tagz.orValue('eu/shop')", "", "must belong to nobody"},
		{"an owner that only looks as if it used the session", "['eu/shop'].map(session, session)[0]", "", "must belong to nobody"},
		{"everything without a mark is of one owner", "session.tags.?team.orValue('none')", "", "must belong to nobody"},
		{"every namespace without a label has one word", valid, "namespaceObject.metadata.labels.?team.orValue('none')",
			"have the same word"},
		{"a word that a typo makes always the same", valid, "namespaceObject.?name.orValue('eu/shop')", "have the same word"},
		{"a word that only looks as if it used the namespace", valid, "['eu/shop'].map(namespaceObject, namespaceObject)[0]",
			"have the same word"},
		{"the word is no text", valid, "namespaceObject.metadata.labels == {}", "the result is bool, want string"},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			_, err := CompileOwnership(v1alpha1.Ownership{Owner: tc.owner, Self: tc.self})
			if err == nil || !strings.Contains(err.Error(), tc.problem) {
				t.Errorf("got %v, want %q", err, tc.problem)
			}
		})
	}
}

// TestOwner evaluates rules on replies to a read.
func TestOwner(t *testing.T) {
	const tags = "session.tags.?cluster.orValue('') + '/' + session.tags.?namespace.orValue('')"
	charge := func(more string) string {
		return fmt.Sprintf(`{"object":"charge","id":%q,"status":"pending"%s}`, gen.ID("omise", 1), more)
	}
	for _, tc := range []struct {
		reason, provider string
		owner            v1alpha1.Expression
		body, want       string
	}{
		{"both marks", "omise", tags, charge(`,"metadata":{"cluster":"eu","namespace":"shop"}`), "eu/shop"},
		{"other marks beside", "omise", tags, charge(`,"metadata":{"cluster":"eu","namespace":"shop","order":1042}`), "eu/shop"},
		{"no marks", "omise", tags, charge(""), ""},
		{"the metadata is null", "omise", tags, charge(`,"metadata":null`), ""},
		{"the metadata is a list", "omise", tags, charge(`,"metadata":["eu","shop"]`), ""},
		{"a mark is missing", "omise", tags, charge(`,"metadata":{"namespace":"shop"}`), ""},
		{"a mark is empty", "omise", tags, charge(`,"metadata":{"cluster":"eu","namespace":""}`), ""},
		{"a mark is null", "omise", tags, charge(`,"metadata":{"cluster":"eu","namespace":null}`), ""},
		{"a mark is a number", "omise", tags, charge(`,"metadata":{"cluster":"eu","namespace":7}`), ""},
		{"a mark has a slash, and an empty part", "omise", tags, charge(`,"metadata":{"cluster":"eu","namespace":"shop/"}`), ""},
		{"the owner is null", "omise", "body.owner", charge(`,"owner":null`), ""},
		{"the owner is a list", "omise", "body.owner", charge(`,"owner":["shop"]`), ""},
		{"the owner is a number", "omise", "body.owner", charge(`,"owner":7`), ""},
		{"the owner is not there", "omise", "body.owner", charge(""), ""},
		{"the owner is too long", "omise", "body.owner", charge(`,"owner":"` + strings.Repeat("x", maxOwnerLength+1) + `"`), ""},
		{"a description", "omise", "session.reference", charge(`,"description":"shop"`), "shop"},
		{"an empty reply says nothing", "omise", tags, "", ""},
		{"null says nothing", "omise", tags, "null", ""},
		{"a page of something in between says nothing", "omise", tags, `{"message":"scheduled maintenance"}`, ""},
		{"a reply that does not show which session it is about says nothing", "omise", tags,
			`{"object":"charge","status":"pending","metadata":{"cluster":"eu","namespace":"shop"}}`, ""},
		{"a prefix of a reference", "txn", "session.reference.split('/')[0]",
			`{"data":{"id":"` + gen.ID("txn", 1) + `","type":"paymentLinks","attributes":{"status":"pending","reference":"shop/1042"}}}`,
			"shop"},
		{"a reference without the prefix", "txn", "session.reference.split('/')[1]",
			`{"data":{"id":"` + gen.ID("txn", 1) + `","type":"paymentLinks","attributes":{"status":"pending","reference":"1042"}}}`, ""},
		{"a Pay Link", "helio", "session.reference",
			`{"token":"` + gen.ID("helio", 1) + `","paylinkTx":null,"paylink":{"id":"640a"},"expiresAt":"2099-01-01T00:00:00Z"}`, "640a"},
		{"a wallet", "circle", "session.reference",
			`{"data":{"id":"` + gen.ID("circle", 1) + `","merchantWalletId":"1000","timeline":[{"status":"created","time":"2026-01-01T00:00:00Z"}]}}`,
			"1000"},
		{"an error", "omise", "session.id", `{"object":"error","code":"not_found"}`, ""},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			rule, err := CompileOwnership(v1alpha1.Ownership{Owner: tc.owner})
			if err != nil {
				t.Fatal(err)
			}
			endpoint := &Endpoint{Definition: compiled(t, tc.provider), Ownership: rule}
			reply := &httpx.Reply{Code: http.StatusOK, Header: http.Header{}, Body: []byte(tc.body)}
			result := endpoint.interpret(v1alpha1.OperationObserve, gen.ID(tc.provider, 1), nil, reply, nil, noon)
			if result.Owner != tc.want {
				t.Errorf("the owner is %q, want %q", result.Owner, tc.want)
			}
			if result.ShowsOwner && strings.Contains(tc.reason, "says nothing") {
				t.Error("it shows an owner")
			}
		})
	}
}

// TestSelf evaluates the own words of namespaces.
func TestSelf(t *testing.T) {
	for _, tc := range []struct {
		reason      string
		self        v1alpha1.Expression
		cluster     string
		annotations map[string]string
		want        string
	}{
		{"the default", "", "eu", nil, "eu/shop"},
		{"the default without a cluster", "", "", nil, ""},
		{"a label", "namespaceObject.metadata.labels['team']", "", nil, "checkout"},
		{"an annotation", "namespaceObject.metadata.annotations['paylink']", "", map[string]string{"paylink": "640a"}, "640a"},
		{"an annotation that is missing", "namespaceObject.metadata.annotations['paylink']", "", nil, ""},
		{"an annotation that is empty", "namespaceObject.metadata.annotations['paylink']", "", map[string]string{"paylink": ""}, ""},
		{"a field that a Namespace does not show", "namespaceObject.metadata.uid", "", nil, ""},
		{"the cluster is given where it is not needed", "namespaceObject.metadata.name", "eu", nil, "shop"},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			rule, err := CompileOwnership(v1alpha1.Ownership{Owner: "session.reference", Self: tc.self})
			if err != nil {
				t.Fatal(err)
			}
			namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
				Name: "shop", Labels: map[string]string{"team": "checkout"}, Annotations: tc.annotations,
			}}
			word, err := rule.Self(namespace, tc.cluster)
			if word != tc.want || (err == nil) != (tc.want != "") {
				t.Errorf("got %q, error %v; want %q", word, err, tc.want)
			}
			if uses := tc.self == ""; rule.UsesCluster() != uses {
				t.Errorf("it uses the cluster: %v", rule.UsesCluster())
			}
		})
	}
}

// TestNoOwnership has no rule to evaluate.
func TestNoOwnership(t *testing.T) {
	rule, err := CompileOwnership(v1alpha1.Ownership{Exclusive: true})
	if rule != nil || err != nil || rule.UsesCluster() {
		t.Errorf("got %v, error %v", rule, err)
	}
}
