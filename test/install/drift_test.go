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

// served renders the chart for a cluster that can add the finalizer at creation.
const served = "--api-versions=admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"

// TestTheChartAndTheKustomizationsSayTheSame compares what the chart and the kustomizations render, object by object:
// with the defaults, and with every option of the chart that has a kustomize component as its counterpart.
func TestTheChartAndTheKustomizationsSayTheSame(t *testing.T) {
	for name, tc := range map[string]struct {
		kustomization string
		values        []string
	}{
		"defaults": {"testdata/default", nil},
		"all options": {"testdata/everything", []string{
			"--set=networkPolicy.enabled=true,monitoring.enabled=true,providers.clusterOnly=true",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			want := objects(t, output(t, tool("kustomize", "build", filepath.Join("test", "install", tc.kustomization))...))
			template := tool("helm", "template", "any", "dist/chart",
				"--namespace=payops-system", "--include-crds", "--no-hooks", served)
			got := objects(t, output(t, append(template, tc.values...)...))
			// Helm does not render the namespace of a release.
			delete(want, "Namespace /payops-system")
			for _, key := range slices.Sorted(maps.Keys(want)) {
				if !reflect.DeepEqual(normal(want[key]), normal(got[key])) {
					t.Errorf("%s differs: kustomize has\n%s\nand the chart has\n%s",
						key, text(t, want[key]), text(t, got[key]))
				}
			}
			for key := range got {
				if want[key] == nil {
					t.Errorf("only the chart has %s", key)
				}
			}
		})
	}
}

// normal trims the space around the values of a ConfigMap.
func normal(object map[string]any) map[string]any {
	if data, ok := object["data"].(map[string]any); ok {
		for key, value := range data {
			data[key] = strings.TrimSpace(fmt.Sprint(value))
		}
	}
	return object
}

// text returns an object as YAML.
func text(t *testing.T, object map[string]any) string {
	t.Helper()
	written, err := yaml.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return string(written)
}

// objects parses rendered manifests, by kind, namespace and name.
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

// TestTheChartsOptions renders the options that only the chart has.
func TestTheChartsOptions(t *testing.T) {
	rendered := func(values ...string) map[string]map[string]any {
		template := tool("helm", "template", "any", "dist/chart", "--namespace=pay", served)
		return objects(t, output(t, append(template, values...)...))
	}
	const shards = `--set-json=shards=[{"name":"0","matchLabels":{"example.com/shard":"a"}},{"name":"rest",` +
		`"matchExpressions":[{"key":"example.com/shard","operator":"NotIn","values":["a","b"]}]}]`
	const manager, finalizer = "payment-session-operator", "payment-session-operator-finalizer"
	const deployment, binding = "Deployment pay/" + manager, "MutatingAdmissionPolicyBinding /" + finalizer
	const watched = "--set=watchNamespaces={x,y}"
	const monitored = "--set=monitoring.enabled=true,monitoring.labels.release=stack"
	for _, tc := range []struct {
		reason, values string
		key            string
		contains       []string
	}{
		{
			"each shard has its managers", shards,
			deployment + "-0", []string{
				"--watch-label-selector=example.com/shard=a", "instance: \"0\"", "--cluster-resource-namespace=pay",
			},
		},
		{
			"a shard selected by an expression", shards,
			deployment + "-rest", []string{"--watch-label-selector=example.com/shard notin (a,b)"},
		},
		{"each shard's sessions get the finalizer", shards, binding + "-rest", []string{"objectSelector", "NotIn"}},
		{"the watched namespaces are a flag", watched, deployment, []string{"--watch-namespaces=x,y"}},
		{
			"only sessions in watched namespaces get the finalizer", watched,
			binding, []string{"kubernetes.io/metadata.name", "x"},
		},
		{
			"Secrets in watched namespaces", watched,
			"RoleBinding y/" + manager + "-secrets", []string{"payment-session-operator-secrets"},
		},
		{
			"Secrets of cluster providers", watched,
			"RoleBinding pay/" + manager + "-secrets", []string{"payment-session-operator-secrets"},
		},
		{
			"the policy names the release's namespace", "",
			"ValidatingAdmissionPolicy /" + manager + "-secrets", []string{"system:serviceaccount:pay:payment-session-operator"},
		},
		{
			"a dry run, a proxy and an extra flag",
			"--set=clusterName=eu,dryRun=true,env[0].name=HTTPS_PROXY,env[0].value=http://proxy,extraArgs={--zap-log-level=2}",
			deployment, []string{"--dry-run", "HTTPS_PROXY", "--zap-log-level=2"},
		},
		{
			"the finalizer, always", "--set=admission.finalizerAtCreation=always",
			"MutatingAdmissionPolicy /" + finalizer, []string{"expire-upstream"},
		},
		{
			"a label for the monitor", monitored,
			"ServiceMonitor pay/" + manager, []string{"release: stack", "app.kubernetes.io/name: payment"},
		},
		{"a label for the rules", monitored, "PrometheusRule pay/" + manager, []string{"release: stack"}},
		{
			"a moving tag is not pulled at every start", "--set=image.tag=latest",
			deployment, []string{"imagePullPolicy: IfNotPresent"},
		},
		{
			"a namespace that looks like a number", "--namespace=1",
			"FlowSchema /" + manager + "-leases", []string{"- \"1\""},
		},
		{"no metrics", "--set=metrics.enabled=false", deployment, []string{"--metrics-bind-address=0"}},
		{"a hook that uninstalls", "", "Job pay/" + manager + "-uninstall", []string{"pre-delete", "uninstall"}},
	} {
		object := rendered(strings.Fields(tc.values)...)[tc.key]
		for _, part := range tc.contains {
			if !strings.Contains(text(t, object), part) {
				t.Errorf("%s: %s lacks %q:\n%s", tc.reason, tc.key, part, text(t, object))
			}
		}
	}
	const unscrapable = "--set=monitoring.enabled=true,metrics.enabled=false"
	_, err := run(t, tool("helm", "template", "any", "dist/chart", unscrapable)...)
	if err == nil || !strings.Contains(err.Error(), "monitoring.enabled requires metrics.enabled") {
		t.Errorf("monitoring without metrics is accepted: %v", err)
	}
	if rendered("--set=admission.finalizerAtCreation=never")["MutatingAdmissionPolicy /"+finalizer] != nil {
		t.Error("the policy is rendered, although finalizerAtCreation is never")
	}
	for _, wrong := range []string{
		"--set=replicas=0", "--set=replica=3",
		`--set-json=shards=[{"name":"a"}]`, `--set-json=shards=[{"name":"a","matchLabels":{}}]`,
		`--set-json=shards=[{"name":"a","matchExpressions":[{"key":"k","operator":"In"}]}]`,
	} {
		_, err := run(t, tool("helm", "template", "any", "dist/chart", wrong)...)
		if err == nil || !strings.Contains(err.Error(), "schema") {
			t.Errorf("%s is accepted: %v", wrong, err)
		}
	}
}

// TestEveryMetricThatIsAskedForExists checks that the code defines every metric of the alerts and the dashboard.
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
			t.Errorf("%s uses %d metrics, want at least 5", file, len(names))
		}
		for _, name := range names {
			if !strings.Contains(string(code), `"`+strings.TrimSuffix(name, "_bucket")+`"`) {
				t.Errorf("%s uses the metric %s, which does not exist", file, name)
			}
		}
	}
}
