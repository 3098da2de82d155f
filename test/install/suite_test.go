// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package install tests each way to install the operator on a fresh control plane, and that all of them install the
// same.
package install

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/await"
	"github.com/payops-dev/payment-session-operator/test/controlplane"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

const operatorName = "payment-session-operator"

// binary is the path of the manager that withBinary built.
var binary string

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(withBinary(m))
}

// withBinary builds the manager and runs the tests.
func withBinary(m *testing.M) int {
	dir, err := os.MkdirTemp("", "install-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "manager")
	build := exec.Command("go", "build", "-race", "-o", binary, ".")
	build.Dir = gen.Root()
	if output, err := build.CombinedOutput(); err != nil {
		panic(fmt.Sprintf("%v: %s", err, output))
	}
	return m.Run()
}

// cluster is a control plane with simulated providers.
type cluster struct {
	*controlplane.ControlPlane
	api       client.WithWatch
	upstreams *simulator.Simulator
	url       string
}

// newCluster starts a fresh control plane and stops it when the test ends.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	plane, err := controlplane.Start(controlplane.Options{Dir: t.TempDir(), ControllerManager: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := plane.Stop(); err != nil {
			t.Error(err)
		}
	})
	api, err := client.NewWithWatch(plane.Config, client.Options{Scheme: gen.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	upstreams := simulator.New()
	server := httptest.NewServer(upstreams.Handler())
	t.Cleanup(server.Close)
	t.Cleanup(upstreams.Close)
	return &cluster{plane, api, upstreams, server.URL}
}

// tool returns the command line of a program that hack/tools pins.
func tool(name string, arguments ...string) []string {
	return append([]string{"go", "tool", "-modfile=hack/tools/go.mod", name}, arguments...)
}

// run runs a program in the repository's root, and returns its standard output. Standard error goes only into the
// error, because go reports there that it downloads or builds a tool.
func run(t *testing.T, arguments ...string) (string, error) {
	t.Helper()
	return runIn(t, nil, arguments...)
}

// runIn is run with additional environment variables.
func runIn(t *testing.T, environment []string, arguments ...string) (string, error) {
	t.Helper()
	home := t.TempDir()
	command := exec.Command(arguments[0], arguments[1:]...)
	command.Dir = gen.Root()
	command.Env = append(os.Environ(), "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	command.Env = append(command.Env, environment...)
	var complaints strings.Builder
	command.Stderr = &complaints
	written, err := command.Output()
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", strings.Join(arguments, " "), err, complaints.String())
	}
	return string(written), err
}

// output runs a program that must not fail, and returns its output.
func output(t *testing.T, arguments ...string) string {
	t.Helper()
	written, err := run(t, arguments...)
	if err != nil {
		t.Fatalf("%v\n%s", err, written)
	}
	return written
}

// run runs a program as the administrator.
func (c *cluster) run(t *testing.T, arguments ...string) (string, error) {
	t.Helper()
	path := filepath.Dir(c.Kubectl) + string(os.PathListSeparator) + os.Getenv("PATH")
	return runIn(t, []string{"KUBECONFIG=" + c.Kubeconfig, "PATH=" + path}, arguments...)
}

// must runs a program as the administrator that must not fail, and returns its output.
func (c *cluster) must(t *testing.T, arguments ...string) string {
	t.Helper()
	written, err := c.run(t, arguments...)
	if err != nil {
		t.Fatalf("%v\n%s", err, written)
	}
	return written
}

// startManager starts the manager with the installed ServiceAccount. The returned function stops it; so does the end
// of the test.
func (c *cluster) startManager(t *testing.T, namespace string) func() {
	t.Helper()
	kubeconfig, err := c.ServiceAccount(namespace, operatorName, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	manager := exec.Command(binary,
		"--kubeconfig="+kubeconfig, "--leader-elect", "--cluster-resource-namespace="+namespace,
		"--allow-private-endpoints", "--metrics-bind-address=0", "--health-probe-bind-address=0")
	log := &strings.Builder{}
	manager.Stdout, manager.Stderr = log, log
	if err := manager.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	stop := func() {
		if ended {
			return
		}
		ended = true
		_ = manager.Process.Signal(syscall.SIGTERM)
		if err := manager.Wait(); err != nil {
			t.Errorf("the manager exited with %v\n%s", err, log)
		}
	}
	t.Cleanup(stop)
	return stop
}

// create creates objects as the administrator.
func (c *cluster) create(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, object := range objects {
		if err := c.api.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
}

// shop creates a namespace with a Secret and a PaymentProvider for Omise.
func (c *cluster) shop(t *testing.T) string {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "shop-"}}
	c.create(t, namespace)
	provider := gen.Provider(namespace.Name, "omise", gen.Endpoint(c.url+"/omise"))
	c.create(t, gen.Secret(namespace.Name, "omise"), provider)
	return namespace.Name
}

// session creates an open session, whose desired state is expired unless an option changes it.
func (c *cluster) session(
	t *testing.T, namespace string, number int, options ...gen.SessionOption,
) *v1alpha1.PaymentSession {
	t.Helper()
	id := gen.ID("omise", number)
	c.upstreams.Add(simulator.Object{Provider: "omise", ID: id, State: simulator.Open})
	session := gen.Session(namespace, fmt.Sprintf("order-%d", number), "omise", id, options...)
	// The API server rejects creates until it knows the schema of a new policy.
	await.Success(t, "a session is created", func() error { return c.api.Create(context.Background(), session) })
	return session
}
