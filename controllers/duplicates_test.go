// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/controllers"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/await"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// TestDuplicatePreventsExpiry deletes an object while another object has the same session.
func TestDuplicatePreventsExpiry(t *testing.T) {
	lines := make(chan string, 100)
	w := newWorld(t, func(options *controllers.Options) {
		options.Audit = funcr.NewJSON(func(line string) { lines <- line }, funcr.Options{})
	})
	shared := w.provideForTeam(t, "shop")
	w.create(t, gen.Secret(w.namespace, "circle"), gen.Provider(w.namespace, "circle", gen.Endpoint(w.url+"/circle")))
	elsewhere := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		GenerateName: "elsewhere-", Labels: map[string]string{"team": "shop"},
	}}
	w.create(t, elsewhere)
	w.awaitCached(t, elsewhere)

	inUpperCase := func(session *v1alpha1.PaymentSession) {
		session.Spec.SessionID = strings.ToUpper(session.Spec.SessionID)
	}
	for _, tc := range []struct {
		reason    string
		provider  string
		namespace string
		options   []gen.SessionOption
		want      simulator.State
	}{
		{
			"another object of the namespace wants it active, as after a rename in Git", "circle", w.namespace,
			[]gen.SessionOption{gen.Active}, simulator.Open,
		},
		{
			"the other object has the id in upper case", "circle", w.namespace, []gen.SessionOption{gen.Active, inUpperCase},
			simulator.Open,
		},
		{
			"the other object has the policy Retain", "circle", w.namespace, []gen.SessionOption{gen.Active, gen.Retained},
			simulator.Open,
		},
		{
			"the other object is in another namespace that the account serves", "omise", elsewhere.Name,
			[]gen.SessionOption{gen.Active}, simulator.Expired,
		},
		{
			"the other object should be expired too, and is suspended", "circle", w.namespace,
			[]gen.SessionOption{gen.Suspended}, simulator.Expired,
		},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			options := []gen.SessionOption{gen.Active}
			if tc.provider == "omise" {
				options = append(options, gen.ClusterProvider(shared.Name))
				tc.options = append(tc.options, gen.ClusterProvider(shared.Name))
			}
			before := w.reason(t, w.session(t, tc.provider, simulator.Open, options...), v1alpha1.ReasonObserved)
			after := gen.Session(tc.namespace, "renamed-"+before.Name, tc.provider, before.Spec.SessionID, tc.options...)
			w.create(t, after)
			if tc.namespace == w.namespace {
				await.Until(t, w, after, "it has conditions", func(s *v1alpha1.PaymentSession) bool {
					return len(s.Status.Conditions) > 0
				})
			}
			if err := w.Delete(t.Context(), before); err != nil {
				t.Fatal(err)
			}
			await.Gone(t, w, before)
			if state := w.upstreams.State(tc.provider, before.Spec.SessionID); state != tc.want {
				t.Errorf("the session is %s, want %s", state, tc.want)
			}
			line := ""
			await.True(t, "the audit log has a line about it", func() bool {
				select {
				case line = <-lines:
				default:
				}
				return strings.Contains(line, `"name":"`+before.Name+`"`)
			})
			if strings.Contains(line, "left a session to another object") != (tc.want == simulator.Open) {
				t.Errorf("the session is %s, and the audit log says %s", tc.want, line)
			}
			if err := client.IgnoreNotFound(w.Delete(t.Context(), after)); err != nil {
				t.Fatal(err)
			}
			w.removeFinalizers(t, after)
		})
	}
}
