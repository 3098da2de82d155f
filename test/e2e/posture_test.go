// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/test/await"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// operatorName is the name of the ServiceAccount, and the prefix of the names of all roles.
const operatorName = "payment-session-operator"

// TestShippedRoles reads the installed roles. None has a wildcard, none is aggregated into the built-in roles, and
// none allows more of Secrets than get and patch.
func TestShippedRoles(t *testing.T) {
	clusterRoles, roles := &rbacv1.ClusterRoleList{}, &rbacv1.RoleList{}
	for _, list := range []client.ObjectList{clusterRoles, roles} {
		if err := api.List(t.Context(), list); err != nil {
			t.Fatal(err)
		}
	}
	rules, count := map[string][]rbacv1.PolicyRule{}, 0
	for _, role := range clusterRoles.Items {
		if !strings.HasPrefix(role.Name, operatorName) {
			continue
		}
		rules[role.Name] = role.Rules
		count++
		for label := range role.Labels {
			if strings.Contains(label, "aggregate") {
				t.Errorf("%s is aggregated into other roles by %s", role.Name, label)
			}
		}
	}
	for _, role := range roles.Items {
		if strings.HasPrefix(role.Name, operatorName) {
			rules[role.Namespace+"/"+role.Name] = role.Rules
		}
	}
	if count < 6 {
		t.Errorf("%d cluster roles are installed, want 6: the operator's, two for metrics, three for users", count)
	}
	for name, list := range rules {
		for _, rule := range list {
			if slices.Contains(slices.Concat(rule.Verbs, rule.Resources, rule.APIGroups, rule.NonResourceURLs), "*") {
				t.Errorf("%s has a wildcard: %v", name, rule)
			}
			if slices.Contains(rule.Resources, "secrets") && !slices.Equal(rule.Verbs, []string{"get", "patch"}) {
				t.Errorf("%s may %v Secrets", name, rule.Verbs)
			}
		}
	}
}

// TestWhoMayEditANamespaceMayNotEndItsPayments binds the roles to users, and checks what each may do. The built-in
// role edit gives no access to payments.
func TestWhoMayEditANamespaceMayNotEndItsPayments(t *testing.T) {
	_, url := simulate(t)
	namespace := newNamespace(t, url)
	for user, role := range map[string]string{
		"kim": "edit", "viewer": operatorName + "-viewer", "editor": operatorName + "-editor",
		"admin": operatorName + "-admin", "author": operatorName + "-class-author",
	} {
		kubectl(t, "", "create", "rolebinding", user, "-n", namespace, "--clusterrole="+role, "--user="+user)
	}
	for _, tc := range []struct {
		user, verb, resource string
		may                  bool
	}{
		{"kim", "create", "paymentsessions", false},
		{"kim", "delete", "paymentsessions", false},
		{"kim", "create", "paymentproviders", false},
		{"viewer", "list", "paymentsessions", true},
		{"viewer", "patch", "paymentsessions", false},
		{"editor", "delete", "paymentsessions", true},
		{"editor", "create", "paymentproviders", false},
		{"admin", "create", "paymentproviders", true},
		{"admin", "patch", "paymentproviderclasses", false},
		{"admin", "list", "paymentproviderclasses", true},
		{"author", "patch", "paymentproviderclasses", true},
		{"author", "create", "paymentproviders", false},
	} {
		may := allowed(t, authorizationv1.SubjectAccessReviewSpec{
			User: tc.user,
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: namespace, Verb: tc.verb, Group: v1alpha1.GroupVersion.Group, Resource: tc.resource,
			},
		})
		if may != tc.may {
			t.Errorf("%s may %s %s: %v, want %v", tc.user, tc.verb, tc.resource, may, tc.may)
		}
	}
}

// allowed reports whether the API server's authorizer allows a request.
func allowed(t *testing.T, request authorizationv1.SubjectAccessReviewSpec) bool {
	t.Helper()
	review := &authorizationv1.SubjectAccessReview{Spec: request}
	create(t, review)
	return review.Status.Allowed
}

// render renders a kustomization of the repository.
func render(t *testing.T, folder string) []byte {
	t.Helper()
	build := exec.Command("go", "tool", "-modfile=hack/tools/go.mod", "kustomize", "build", folder)
	build.Dir = gen.Root()
	output, err := build.Output()
	if err != nil {
		t.Fatal(err)
	}
	return output
}

// TestTheManagersPodIsRestricted creates the Deployment's pod as a dry run, in a namespace that enforces the Pod
// Security Standard restricted (https://kubernetes.io/docs/concepts/security/pod-security-standards/).
func TestTheManagersPodIsRestricted(t *testing.T) {
	rendered := render(t, "test/e2e/testdata/network-policy")
	found := map[string]bool{}
	for document := range strings.SplitSeq(string(rendered), "\n---\n") {
		object := &metav1.TypeMeta{}
		if err := yaml.Unmarshal([]byte(document), object); err != nil {
			t.Fatal(err)
		}
		found[object.Kind] = true
		if object.Kind != "Deployment" {
			continue
		}
		deployment := &appsv1.Deployment{}
		if err := yaml.UnmarshalStrict([]byte(document), deployment); err != nil {
			t.Fatal(err)
		}
		pod := &corev1.Pod{ObjectMeta: deployment.Spec.Template.ObjectMeta, Spec: deployment.Spec.Template.Spec}
		pod.Namespace, pod.Name = deployment.Namespace, "shown"
		if err := api.Create(t.Context(), pod, client.DryRunAll); err != nil {
			t.Errorf("the pod is rejected: %v", err)
		}
		pod.Spec.SecurityContext.RunAsNonRoot, pod.ResourceVersion = nil, ""
		if err := api.Create(t.Context(), pod, client.DryRunAll); err == nil {
			t.Error("a pod that may run as root is accepted: the namespace enforces nothing")
		}
	}
	for _, kind := range []string{"Deployment", "PodDisruptionBudget", "NetworkPolicy", "FlowSchema"} {
		if !found[kind] {
			t.Errorf("no %s is shipped", kind)
		}
	}
	kubectl(t, string(rendered), "apply", "--dry-run=server", "-f", "-")
}

// TestMetricsAreForThoseWhoMayReadThem scrapes a manager without credentials, with those of a user without a role,
// and with those of one with the role metrics-reader.
func TestMetricsAreForThoseWhoMayReadThem(t *testing.T) {
	t.Parallel()
	upstreams, url := simulate(t)
	namespace := newNamespace(t, url)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	startManager(t, watching(namespace), "--metrics-bind-address="+address)
	for _, session := range payable(t, upstreams, namespace, 4) {
		await.Reason(t, api, session, v1alpha1.ReasonObserved)
	}
	tokens := map[string]string{}
	for _, name := range []string{"somebody", "scraper"} {
		kubectl(t, "", "create", "serviceaccount", name, "-n", namespace)
		tokens[name] = strings.TrimSpace(kubectl(t, "", "create", "token", name, "-n", namespace))
	}
	kubectl(t, "", "create", "clusterrolebinding", namespace,
		"--clusterrole="+operatorName+"-metrics-reader", "--serviceaccount="+namespace+":scraper")
	t.Cleanup(func() { _, _ = plane.Run("", "delete", "clusterrolebinding", namespace) })
	awaitMayRead(t, "system:serviceaccount:"+namespace+":scraper")
	if code, _ := scrape(t, address, ""); code != http.StatusUnauthorized {
		t.Errorf("without credentials: %d, want 401", code)
	}
	if code, _ := scrape(t, address, tokens["somebody"]); code != http.StatusForbidden {
		t.Errorf("without the role: %d, want 403", code)
	}
	code, text := scrape(t, address, tokens["scraper"])
	if code != http.StatusOK {
		t.Fatalf("with the role: %d, want 200", code)
	}
	if !strings.Contains(text, "payops_released_payable_total") {
		t.Error("the operator's own metrics are not served")
	}
	for _, credential := range canaries(t) {
		if strings.Contains(text, credential) {
			t.Error("a metric contains a credential")
		}
	}
	for _, call := range upstreams.Calls() {
		if strings.Contains(text, call.ID) {
			t.Errorf("a metric contains the session id %s", call.ID)
		}
	}
}

// awaitMayRead waits until the API server's authorizer lets a user read metrics. It must do so before the first
// scrape, because a manager caches its answers.
func awaitMayRead(t *testing.T, user string) {
	t.Helper()
	await.True(t, user+" may read metrics", func() bool {
		return allowed(t, authorizationv1.SubjectAccessReviewSpec{
			User: user, NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: "/metrics", Verb: "get"},
		})
	})
}

// scrape reads the metrics of a manager, and returns the status code and the body.
func scrape(t *testing.T, address, token string) (int, string) {
	t.Helper()
	url := fmt.Sprintf("https://%s/metrics", address)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	// The manager generates a self-signed certificate when it starts.
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// TestTheOperatorMayNotTouchWhatIsNotItsOwn sends requests as the operator's ServiceAccount that its roles must not
// allow.
func TestTheOperatorMayNotTouchWhatIsNotItsOwn(t *testing.T) {
	operator := asOperator(t)
	for what, err := range map[string]error{
		"list ConfigMaps":    operator.List(t.Context(), &corev1.ConfigMapList{}),
		"list Pods":          operator.List(t.Context(), &corev1.PodList{}),
		"create a session":   operator.Create(t.Context(), gen.Session("default", "own", "omise", gen.ID("omise", 1))),
		"create a role":      operator.Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "own"}}),
		"delete a Secret":    operator.Delete(t.Context(), secretNamed("default", "own")),
		"create a namespace": operator.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "own"}}),
	} {
		if err == nil || !strings.Contains(err.Error(), "forbidden") {
			t.Errorf("%s: %v, want it to be forbidden", what, err)
		}
	}
}
