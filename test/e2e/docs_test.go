// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/await"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// block matches a block of commands in a page. The test runs those marked "```sh". It does not run those marked
// "```sh ignore", which need a comment above them that says why.
var block = regexp.MustCompile("(?ms)^(<!-- not run: [^\n]+ -->\n)?```sh( ignore)?\n(.*?)^```$")

// commands returns the blocks of a page that the test runs.
func commands(t *testing.T, page string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(gen.Root(), page))
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, found := range block.FindAllStringSubmatch(string(text), -1) {
		reason, ignored := found[1] != "", found[2] != ""
		switch {
		case reason != ignored:
			t.Errorf("%s: a block needs a reason exactly if it is not run:\n%s", page, found[3])
		case !ignored:
			blocks = append(blocks, found[3])
		}
	}
	if count := strings.Count(string(text), "\n```sh"); count != len(block.FindAllString(string(text), -1)) {
		t.Errorf("%s has %d blocks of commands, and the test cannot parse all of them", page, count)
	}
	return blocks
}

// pages returns the paths of all pages for users.
func pages(t *testing.T) []string {
	t.Helper()
	found := []string{"README.md", "CONTRIBUTING.md", "SECURITY.md"}
	err := fs.WalkDir(os.DirFS(gen.Root()), "docs", func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".md") {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestTheCommandsOfThePages runs the commands of the README, and then those of every other page. Only the address of
// Omise differs from what the pages say.
func TestTheCommandsOfThePages(t *testing.T) {
	upstreams, url := simulate(t)
	startManager(t)
	classAt(t, "omise", url+"/omise")
	first := commands(t, "README.md")
	id := regexp.MustCompile("chrg_test_[0-9a-z]+").FindString(strings.Join(first, ""))
	upstreams.Add(simulator.Object{Provider: "omise", ID: id, State: simulator.Open})
	t.Cleanup(func() {
		_, _ = plane.Run("", "delete", "namespace", "checkout", "--ignore-not-found", "--timeout=120s")
	})
	count := 0
	for _, page := range pages(t) {
		blocks := commands(t, page)
		typed(t, page, blocks)
		count += len(blocks)
	}
	if state := upstreams.State("omise", id); state != simulator.Expired {
		t.Errorf("the README's session is %s at the provider", state)
	}
	t.Logf("%d blocks of commands were run", count)
}

// classAt changes the base URL of a class until the test ends.
func classAt(t *testing.T, class, url string) {
	t.Helper()
	patch := fmt.Sprintf(`[{"op":"replace","path":"/spec/environments/0/baseURL","value":%q}]`, url)
	kubectl(t, "", "patch", "paymentproviderclass", class, "--type=json", "-p", patch)
	t.Cleanup(func() {
		shipped := filepath.Join(gen.Root(), "config", "classes", class+".yaml")
		if _, err := plane.Run("", "apply", "--server-side", "--force-conflicts", "-f", shipped); err != nil {
			t.Error(err)
		}
	})
}

// typed runs the commands of a page in one shell, as a user would.
func typed(t *testing.T, page string, blocks []string) {
	t.Helper()
	script := strings.ReplaceAll(strings.Join(blocks, "\n"), "skey_test_…", simulator.Keys()["omise"]["secretKey"])
	shell := exec.Command("bash", "-euo", "pipefail", "-c", script)
	shell.Dir = gen.Root()
	path := filepath.Dir(plane.Kubectl) + string(os.PathListSeparator) + os.Getenv("PATH")
	shell.Env = append(os.Environ(), "KUBECONFIG="+plane.Kubeconfig, "PATH="+path)
	if written, err := shell.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s\nof\n%s", page, err, written, script)
	}
}

// TestEveryAlertHasARunbook checks that the operations page explains every alert.
func TestEveryAlertHasARunbook(t *testing.T) {
	read := func(path string) string {
		text, err := os.ReadFile(filepath.Join(gen.Root(), path))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	alerts := regexp.MustCompile(`alert: (\w+)`)
	for _, alert := range alerts.FindAllStringSubmatch(read("config/prometheus/rules.yaml"), -1) {
		if !strings.Contains(read("docs/operations.md"), "### "+alert[1]+"\n") {
			t.Errorf("docs/operations.md does not explain the alert %s", alert[1])
		}
	}
}

// TestTheLinksOfThePages checks that every link within the repository leads to a file.
func TestTheLinksOfThePages(t *testing.T) {
	link := regexp.MustCompile(`\]\(([A-Za-z0-9_./:-]+)(#[^)]*)?\)`)
	for _, page := range append(pages(t), "CHANGELOG.md") {
		text, err := os.ReadFile(filepath.Join(gen.Root(), page))
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(found[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(gen.Root(), filepath.Dir(page), found[1])); err != nil {
				t.Errorf("%s: %v", page, err)
			}
		}
	}
}

// TestApplyingTheSamplesTwiceChangesNothing applies the samples twice, client-side and server-side. The second time
// changes nothing.
func TestApplyingTheSamplesTwiceChangesNothing(t *testing.T) {
	samples := string(render(t, "config/samples")) + "---\n" + string(render(t, "config/samples/shop"))
	t.Cleanup(func() { _, _ = plane.Run(samples, "delete", "--ignore-not-found", "--wait=false", "-f", "-") })
	for _, apply := range [][]string{{"apply", "-f", "-"}, {"apply", "--server-side", "--force-conflicts", "-f", "-"}} {
		kubectl(t, samples, apply...)
		versions := func() string {
			const each = `{.kind}{"/"}{.metadata.name}{" "}{.metadata.resourceVersion}{"\n"}`
			return kubectl(t, samples, "get", "-f", "-", "-o", "jsonpath={range .items[*]}"+each+"{end}")
		}
		before := versions()
		kubectl(t, samples, apply...)
		if after := versions(); after != before || !strings.Contains(before, "PaymentSession/") || !strings.Contains(before, "PaymentSweep/") {
			t.Errorf("%v changed something the second time:\n%s\nbefore\n%s", apply, after, before)
		}
	}
}

// TestTwoFieldManagers has two pipelines apply different fields of one session while the operator works on it.
// Neither loses its fields.
func TestTwoFieldManagers(t *testing.T) {
	t.Parallel()
	upstreams, url := simulate(t)
	namespace := newNamespace(t, url)
	startManager(t, watching(namespace))
	id := gen.ID("omise", 1)
	upstreams.Add(simulator.Object{Provider: "omise", ID: id, State: simulator.Open})
	apply := func(manager, metadata, spec string) {
		kubectl(t, fmt.Sprintf(`
apiVersion: payments.payops.dev/v1alpha1
kind: PaymentSession
metadata: {name: shared, namespace: %s%s}
spec: {%s}
`, namespace, metadata, spec), "apply", "--server-side", "--field-manager="+manager, "-f", "-")
	}
	owned := "providerRef: {name: omise}, sessionID: " + id
	shared := gen.Session(namespace, "shared", "omise", id)
	apply("shop", "", owned+", desiredState: active")
	await.Reason(t, api, shared, v1alpha1.ReasonObserved)
	apply("platform", ", labels: {team: shop}", "suspend: true")
	await.Reason(t, api, shared, v1alpha1.ReasonSuspended)
	apply("shop", "", owned+", desiredState: expired")
	apply("platform", ", labels: {team: shop}", "suspend: false")
	expired := await.Reason(t, api, shared, v1alpha1.ReasonExpired)
	if expired.Labels["team"] != "shop" || expired.Spec.DesiredState != v1alpha1.DesiredStateExpired {
		t.Errorf("a field that one pipeline applied is lost: %v %v", expired.Labels, expired.Spec)
	}
	apply("shop", "", owned+", desiredState: expired")
	apply("platform", ", labels: {team: shop}", "suspend: false")
	again := await.Reason(t, api, shared, v1alpha1.ReasonExpired)
	if again.Generation != expired.Generation {
		t.Error("applying the same again changed the spec")
	}
}
