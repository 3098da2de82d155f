// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package e2e tests the built binary as its users run it: make install installs it, it runs with the ServiceAccount
// and the roles of config/rbac, and kubectl drives it, on a control plane with a kube-controller-manager.
package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/await"
	"github.com/payops-dev/payment-session-operator/test/controlplane"
	"github.com/payops-dev/payment-session-operator/test/gen"
	"github.com/payops-dev/payment-session-operator/test/process"
)

var (
	plane *controlplane.ControlPlane
	// api is the administrator's client.
	api client.WithWatch
	// binary is the path of the manager that prepare built.
	binary string
	// kubeconfig is the path of a kubeconfig with the ServiceAccount's token.
	kubeconfig string
)

func TestMain(m *testing.M) {
	controlplane.Main(m, controlplane.Options{ControllerManager: true}, prepare)
}

// prepare builds the manager and installs everything.
func prepare(started *controlplane.ControlPlane) (err error) {
	plane = started
	ctrl.SetLogger(logr.Discard())
	binary = filepath.Join(plane.Dir, "manager")
	if api, err = client.NewWithWatch(plane.Config, client.Options{Scheme: gen.Scheme()}); err != nil {
		return err
	}
	if err := command("go", "build", "-race", "-o", binary, "."); err != nil {
		return err
	}
	return install()
}

// install installs everything but the Deployment, and writes a kubeconfig for the ServiceAccount that it creates.
func install() error {
	if err := command("make", "--no-print-directory", "install"); err != nil {
		return err
	}
	var err error
	kubeconfig, err = plane.ServiceAccount("payops-system", operatorName, plane.Dir)
	return err
}

// command runs a program in the repository's root, as the administrator.
func command(name string, arguments ...string) error {
	run := exec.Command(name, arguments...)
	run.Dir, run.Env = gen.Root(), append(os.Environ(), "KUBECONFIG="+plane.Kubeconfig)
	if output, err := run.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(arguments, " "), err, output)
	}
	return nil
}

// asOperator returns a client with the permissions of the operator's ServiceAccount.
func asOperator(t *testing.T) client.Client {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	operator, err := client.New(config, client.Options{Scheme: api.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	return operator
}

// manager is a running operator.
type manager struct {
	command *exec.Cmd
	log     *os.File
	ended   chan error
	// terminated is set when SIGTERM was sent: controller-runtime exits at once on the second one.
	terminated bool
	// losesItsRoles is set when a test deletes its roles.
	losesItsRoles bool
}

// startManager starts the built binary with the ServiceAccount, and stops it when the test ends.
func startManager(t *testing.T, flags ...string) *manager {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "manager.log"))
	if err != nil {
		t.Fatal(err)
	}
	flags = append([]string{
		"--kubeconfig=" + kubeconfig, "--allow-private-endpoints", "--metrics-bind-address=0",
		"--health-probe-bind-address=0", "--zap-log-level=10",
	}, flags...)
	running := &manager{command: exec.Command(binary, flags...), log: log, ended: make(chan error, 1)}
	running.command.Stdout, running.command.Stderr = log, log
	if err := running.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { running.ended <- running.command.Wait() }()
	t.Cleanup(func() { running.stop(t) })
	return running
}

// terminate sends SIGTERM, as Kubernetes does, and returns when the manager has begun to stop.
func (m *manager) terminate(t *testing.T) {
	t.Helper()
	if err := m.command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	m.terminated = true
	await.True(t, "the manager begins to stop", func() bool {
		return strings.Contains(m.output(t), "Stopping and waiting")
	})
}

// stop stops the manager as Kubernetes does, and waits until its process has exited.
func (m *manager) stop(t *testing.T) {
	t.Helper()
	if m.ended == nil {
		return
	}
	if !m.terminated {
		_ = m.command.Process.Signal(syscall.SIGTERM)
	}
	select {
	case err := <-m.ended:
		if err != nil {
			t.Errorf("the manager exited with %v\n%s", err, m.output(t))
		}
	case <-time.After(2 * time.Minute):
		_ = m.command.Process.Kill()
		t.Error("the manager did not exit")
	}
	m.ended = nil
	m.inspect(t)
}

// kill kills the manager without a shutdown, as a failing machine would.
func (m *manager) kill(t *testing.T) {
	t.Helper()
	if err := m.command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-m.ended
	m.ended = nil
	m.inspect(t)
}

// peakMemory returns the most memory that the manager has used so far, in bytes.
func (m *manager) peakMemory(t *testing.T) int64 {
	t.Helper()
	peak, err := process.PeakMemory(m.command.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return peak
}

// output returns the manager's log so far.
func (m *manager) output(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(m.log.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// simulate serves the four providers until the test ends.
func simulate(t *testing.T) (*simulator.Simulator, string) {
	t.Helper()
	upstreams := simulator.New()
	return upstreams, serve(t, upstreams, upstreams.Handler())
}

// serve serves a handler until the test ends, and closes the simulator behind it.
func serve(t *testing.T, upstreams *simulator.Simulator, handler http.Handler) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	t.Cleanup(upstreams.Close)
	return server.URL
}

// kubectl runs kubectl as the administrator and returns its output. The test fails if kubectl does.
func kubectl(t *testing.T, input string, arguments ...string) string {
	t.Helper()
	output, err := plane.Run(input, arguments...)
	if err != nil {
		t.Fatal(err)
	}
	return output
}

// newNamespace creates a namespace with a Secret and a PaymentProvider for each of the four providers.
func newNamespace(t *testing.T, url string, options ...gen.ProviderOption) string {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "shop-"}}
	create(t, namespace)
	name := namespace.Name
	for _, provider := range gen.Providers {
		all := append([]gen.ProviderOption{gen.Endpoint(url + "/" + provider), gen.RateLimit(1000, time.Second)}, options...)
		create(t, gen.Secret(name, provider), gen.Provider(name, provider, all...))
	}
	return name
}
