// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
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

// program is a program of the page about registration.
type program struct {
	language, file string
	// command runs the file, and needs is the program without which it cannot.
	command []string
	needs   string
	// repeatable is true for a program that takes "already exists" for a success.
	repeatable bool
}

// TestTheProgramsThatRegister runs the programs of the page as the ServiceAccount of an application, which may create
// sessions. Each registers a session, which the teardown of the namespace then expires. Only the place of the
// ServiceAccount's files and the address of the cluster differ from what the page says; the program in Go finds both in
// a kubeconfig.
func TestTheProgramsThatRegister(t *testing.T) {
	t.Parallel()
	upstreams, url := simulate(t)
	namespace := newNamespace(t, url)
	startManager(t, watching(namespace))
	kubectl(t, "", "create", "rolebinding", "shop-registers", "-n", namespace,
		"--clusterrole=payment-session-operator-registrar", "--serviceaccount="+namespace+":default")
	run := inPod(t, namespace)
	for i, program := range []program{
		{language: "go", file: "main.go", command: []string{"go", "run"}, needs: "go", repeatable: true},
		{language: "bash", file: "register.sh", command: []string{"bash", "-euo", "pipefail"}, needs: "curl"},
		{language: "js", file: "register.mjs", command: []string{"node"}, needs: "node", repeatable: true},
		{language: "python", file: "register.py", command: []string{"python3"}, needs: "python3", repeatable: true},
	} {
		if _, err := exec.LookPath(program.needs); err != nil {
			t.Logf("this machine cannot run the program in %s: %v", program.language, err)
			continue
		}
		id := gen.ID("helio", i)
		upstreams.Add(simulator.Object{Provider: "helio", ID: id, State: simulator.Open})
		if output, err := run(program, id); err != nil {
			t.Errorf("the program in %s: %v\n%s", program.language, err, output)
			continue
		}
		session := gen.Session(namespace, "helio-"+id, "helio", id)
		if got := await.Reason(t, api, session, v1alpha1.ReasonObserved); got.Spec.SessionID != id {
			t.Errorf("the program in %s has registered %s, want %s", program.language, got.Spec.SessionID, id)
		}
		output, err := run(program, id)
		if isConflict := strings.Contains(output, "409"); (err == nil) != program.repeatable || err != nil && !isConflict {
			t.Errorf("the program in %s, once more: %v\n%s", program.language, err, output)
		}
	}
	deleteNamespace(t, namespace)
	awaitNamespaceGone(t, namespace)
	assertAllExpired(t, upstreams)
}

// inPod returns a function that runs a program of the page with what a pod of the namespace has.
func inPod(t *testing.T, namespace string) func(of program, id string) (string, error) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(gen.Root(), "docs", "registering.md"))
	if err != nil {
		t.Fatal(err)
	}
	account, address := t.TempDir(), strings.TrimSuffix(plane.Config.Host, "/")
	kubeconfig, err := plane.ServiceAccount(namespace, "default", account)
	if err != nil {
		t.Fatal(err)
	}
	token := kubectl(t, "", "create", "token", "default", "--namespace="+namespace)
	for name, content := range map[string]string{"token": strings.TrimSpace(token), "ca.crt": string(plane.Config.CAData)} {
		if err := os.WriteFile(filepath.Join(account, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return func(of program, id string) (string, error) {
		found := regexp.MustCompile("(?ms)^```" + of.language + "\n(.*?)^```$").FindSubmatch(page)
		if found == nil {
			t.Fatalf("the page has no program in %s", of.language)
		}
		source := strings.NewReplacer(
			"/var/run/secrets/kubernetes.io/serviceaccount", account, "https://kubernetes.default.svc", address,
		).Replace(string(found[1]))
		path := filepath.Join(account, of.file)
		if err := os.WriteFile(path, []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
		command := exec.CommandContext(t.Context(), of.command[0], append(of.command[1:], path)...)
		command.Dir = gen.Root()
		command.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "NAMESPACE="+namespace, "CHARGE="+id)
		output, err := command.CombinedOutput()
		return string(output), err
	}
}
