// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/payops-dev/payment-session-operator/test/gen"
)

// served is what a chart is told of a cluster that can put the finalizer on at creation.
const served = "--api-versions=admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"

// TestTheChartAndTheKustomizationsSayTheSame compares what both render, object by object, with each of the chart's
// options that has a counterpart.
func TestTheChartAndTheKustomizationsSayTheSame(t *testing.T) {
	for name, tc := range map[string]struct {
		kustomization string
		values        []string
	}{
		"as it comes":            {"testdata/default", nil},
		"with everything around": {"testdata/everything", []string{"--set=networkPolicy.enabled=true,monitoring.enabled=true,providers.clusterOnly=true"}},
	} {
		t.Run(name, func(t *testing.T) {
			want := objects(t, output(t, tool("kustomize", "build", filepath.Join("test", "install", tc.kustomization))...))
			arguments := append(tool("helm", "template", "any", "dist/chart", "--namespace=payops-system", "--include-crds", "--no-hooks", served), tc.values...)
			got := objects(t, output(t, arguments...))
			// A release's namespace is made by whoever installs it.
			delete(want, "Namespace /payops-system")
			for _, key := range slices.Sorted(maps.Keys(want)) {
				if !reflect.DeepEqual(normal(want[key]), normal(got[key])) {
					t.Errorf("%s differs: kustomize has\n%s\nand the chart\n%s", key, text(t, want[key]), text(t, got[key]))
				}
			}
			for key := range got {
				if want[key] == nil {
					t.Errorf("the chart alone has %s", key)
				}
			}
		})
	}
}

// normal ignores how a text ends.
func normal(object map[string]any) map[string]any {
	if data, ok := object["data"].(map[string]any); ok {
		for key, value := range data {
			data[key] = strings.TrimSpace(fmt.Sprint(value))
		}
	}
	return object
}

func text(t *testing.T, object map[string]any) string {
	t.Helper()
	written, err := yaml.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return string(written)
}

// objects of a rendering, by kind and name.
func objects(t *testing.T, rendered string) map[string]map[string]any {
	t.Helper()
	found := map[string]map[string]any{}
	for _, document := range regexp.MustCompile(`(?m)^---$`).Split(rendered, -1) {
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(document), &object.Object); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		if object.Object != nil {
			found[fmt.Sprintf("%s %s/%s", object.GetKind(), object.GetNamespace(), object.GetName())] = object.Object
		}
	}
	return found
}

// TestTheChartsOptions renders what only the chart can do.
func TestTheChartsOptions(t *testing.T) {
	rendered := func(values ...string) map[string]map[string]any {
		return objects(t, output(t, append(tool("helm", "template", "any", "dist/chart", "--namespace=pay", served), values...)...))
	}
	shards := `--set-json=shards=[{"name":"0","matchLabels":{"example.com/shard":"a"}},{"name":"rest","matchExpressions":[{"key":"example.com/shard","operator":"NotIn","values":["a","b"]}]}]`
	for reason, tc := range map[string]struct {
		values   []string
		key      string
		contains []string
	}{
		"each shard has managers":                    {[]string{shards}, "Deployment pay/payment-session-operator-0", []string{"--watch-label-selector=example.com/shard=a", "instance: \"0\"", "--cluster-resource-namespace=pay"}},
		"a shard by an expression":                   {[]string{shards}, "Deployment pay/payment-session-operator-rest", []string{"--watch-label-selector=example.com/shard notin (a,b)"}},
		"each shard's sessions get the finalizer":    {[]string{shards}, "MutatingAdmissionPolicyBinding /payment-session-operator-finalizer-rest", []string{"objectSelector", "NotIn"}},
		"watched namespaces":                         {[]string{"--set=watchNamespaces={x,y}"}, "Deployment pay/payment-session-operator", []string{"--watch-namespaces=x,y"}},
		"no finalizer where nobody watches":          {[]string{"--set=watchNamespaces={x,y}"}, "MutatingAdmissionPolicyBinding /payment-session-operator-finalizer", []string{"kubernetes.io/metadata.name", "x"}},
		"Secrets of watched namespaces":              {[]string{"--set=watchNamespaces={x,y}"}, "RoleBinding y/payment-session-operator-secrets", []string{"payment-session-operator-secrets"}},
		"Secrets of cluster providers":               {[]string{"--set=watchNamespaces={x,y}"}, "RoleBinding pay/payment-session-operator-secrets", []string{"payment-session-operator-secrets"}},
		"the policy knows the release's namespace":   {nil, "ValidatingAdmissionPolicy /payment-session-operator-secrets", []string{"system:serviceaccount:pay:payment-session-operator"}},
		"a dry run, a proxy and a flag of one's own": {[]string{"--set=dryRun=true,env[0].name=HTTPS_PROXY,env[0].value=http://proxy,extraArgs={--zap-log-level=2}"}, "Deployment pay/payment-session-operator", []string{"--dry-run", "HTTPS_PROXY", "--zap-log-level=2"}},
		"a finalizer although the cluster says no":   {[]string{"--set=admission.finalizerAtCreation=always"}, "MutatingAdmissionPolicy /payment-session-operator-finalizer", []string{"expire-upstream"}},
		"a monitor that is selected by a label":      {[]string{"--set=monitoring.enabled=true,monitoring.labels.release=stack"}, "ServiceMonitor pay/payment-session-operator", []string{"release: stack", "app.kubernetes.io/name: payment"}},
		"rules that are selected by a label":         {[]string{"--set=monitoring.enabled=true,monitoring.labels.release=stack"}, "PrometheusRule pay/payment-session-operator", []string{"release: stack"}},
		"a tag that moves, pulled once":              {[]string{"--set=image.tag=latest"}, "Deployment pay/payment-session-operator", []string{"imagePullPolicy: IfNotPresent"}},
		"a namespace that looks like a number":       {[]string{"--namespace=1"}, "FlowSchema /payment-session-operator-leases", []string{"- \"1\""}},
		"no metrics":                                 {[]string{"--set=metrics.enabled=false"}, "Deployment pay/payment-session-operator", []string{"--metrics-bind-address=0"}},
		"an uninstall that leaves nothing":           {nil, "Job pay/payment-session-operator-uninstall", []string{"pre-delete", "uninstall"}},
	} {
		object := rendered(tc.values...)[tc.key]
		for _, part := range tc.contains {
			if !strings.Contains(text(t, object), part) {
				t.Errorf("%s: %s lacks %q:\n%s", reason, tc.key, part, text(t, object))
			}
		}
	}
	if _, err := run(t, append(tool("helm", "template", "any", "dist/chart"), "--set=monitoring.enabled=true,metrics.enabled=false")...); err == nil || !strings.Contains(err.Error(), "nothing to scrape") {
		t.Errorf("monitoring without metrics is taken: %v", err)
	}
	if rendered("--set=admission.finalizerAtCreation=never")["MutatingAdmissionPolicy /payment-session-operator-finalizer"] != nil {
		t.Error("the policy is there although it should never be")
	}
	for _, wrong := range []string{
		"--set=replicas=0", "--set=replica=3", `--set-json=shards=[{"name":"a"}]`, `--set-json=shards=[{"name":"a","matchLabels":{}}]`,
		`--set-json=shards=[{"name":"a","matchExpressions":[{"key":"k","operator":"In"}]}]`,
	} {
		if _, err := run(t, append(tool("helm", "template", "any", "dist/chart"), wrong)...); err == nil || !strings.Contains(err.Error(), "schema") {
			t.Errorf("%s is taken: %v", wrong, err)
		}
	}
}

// TestEveryMetricThatIsAskedForExists looks for the metrics of the alerts and the dashboard in the code.
func TestEveryMetricThatIsAskedForExists(t *testing.T) {
	code, err := os.ReadFile(filepath.Join(gen.Root(), "controllers", "metrics.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"rules.yaml", "dashboard.json"} {
		asked, err := os.ReadFile(filepath.Join(gen.Root(), "config", "prometheus", file))
		if err != nil {
			t.Fatal(err)
		}
		names := regexp.MustCompile(`payops_[a-z_]+`).FindAllString(string(asked), -1)
		if len(names) < 5 {
			t.Errorf("%s asks for %d metrics", file, len(names))
		}
		for _, name := range names {
			if !strings.Contains(string(code), `"`+strings.TrimSuffix(name, "_bucket")+`"`) {
				t.Errorf("%s asks for %s, which nothing counts", file, name)
			}
		}
	}
}
