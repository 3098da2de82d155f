// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package controlplane starts a real control plane: etcd, kube-apiserver and, on request, kube-controller-manager,
// all built from pinned Go modules. The demo, the tests and the benchmark share it.
package controlplane

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/payops-dev/payment-session-operator/test/gen"
)

// controllers are the controllers that the deletion of a namespace and a ServiceAccount need. The others would only
// use memory.
const controllers = "namespace-controller,garbage-collector-controller," +
	"serviceaccount-controller,root-ca-certificate-publisher-controller"

// stopTimeout is how long a process may take to stop before it is killed.
const stopTimeout = 20 * time.Second

// Options configures a control plane.
type Options struct {
	// Dir is the folder for its kubeconfig and logs.
	Dir string
	// ControllerManager starts kube-controller-manager, too. Without it, the deletion of a namespace never ends.
	ControllerManager bool
	// CRDs is a folder with CustomResourceDefinitions to install, or empty.
	CRDs string
	// APIServerFlags are additional flags of kube-apiserver, by name without dashes.
	APIServerFlags map[string]string
	// After, if set, is called when all tests of a package have passed, to check what they must have shown together.
	After func() error
}

// ControlPlane is a running control plane.
type ControlPlane struct {
	// Config is the client configuration of the administrator.
	Config *rest.Config
	// Kubeconfig is the path of the administrator's kubeconfig.
	Kubeconfig string
	// Kubectl is the path of kubectl.
	Kubectl string
	// Dir is the folder with its files.
	Dir string

	environment *envtest.Environment
	manager     *exec.Cmd
}

// Assets returns the folder with the binaries, and builds those that are missing.
func Assets() (string, error) {
	build := exec.Command(filepath.Join(gen.Root(), "hack", "controlplane", "build.sh"))
	build.Stderr = os.Stderr
	output, err := build.Output()
	if err != nil {
		return "", fmt.Errorf("cannot build the control plane: %w", err)
	}
	lines := strings.Split(strings.TrimSpace(string(output)), "\n")
	return lines[len(lines)-1], nil
}

// Start starts a control plane, and returns when the API server is ready.
func Start(options Options) (*ControlPlane, error) {
	assets, err := Assets()
	if err != nil {
		return nil, err
	}
	environment := &envtest.Environment{BinaryAssetsDirectory: assets}
	if options.CRDs != "" {
		environment.CRDDirectoryPaths, environment.ErrorIfCRDPathMissing = []string{options.CRDs}, true
	}
	for name, value := range options.APIServerFlags {
		environment.ControlPlane.GetAPIServer().Configure().Set(name, value)
	}
	config, err := environment.Start()
	if err != nil {
		return nil, fmt.Errorf("cannot start etcd and kube-apiserver: %w", err)
	}
	plane := &ControlPlane{
		Config: config, environment: environment, Dir: options.Dir,
		Kubeconfig: filepath.Join(options.Dir, "kubeconfig"), Kubectl: filepath.Join(assets, "kubectl"),
	}
	if err := plane.finish(assets, options); err != nil {
		return nil, errors.Join(err, plane.Stop())
	}
	return plane, nil
}

// finish writes the kubeconfig and starts kube-controller-manager, which envtest does not.
func (p *ControlPlane) finish(assets string, options Options) error {
	admin, err := p.environment.AddUser(envtest.User{Name: "admin", Groups: []string{"system:masters"}}, nil)
	if err != nil {
		return fmt.Errorf("cannot create an administrator: %w", err)
	}
	kubeconfig, err := admin.KubeConfig()
	if err != nil {
		return fmt.Errorf("cannot create a kubeconfig: %w", err)
	}
	if err := os.WriteFile(p.Kubeconfig, kubeconfig, 0o600); err != nil {
		return err
	}
	if !options.ControllerManager {
		return nil
	}
	log, err := os.Create(filepath.Join(options.Dir, "kube-controller-manager.log"))
	if err != nil {
		return err
	}
	p.manager = exec.Command(filepath.Join(assets, "kube-controller-manager"),
		"--kubeconfig="+p.Kubeconfig, "--controllers="+controllers, "--leader-elect=false", "--secure-port=0",
		"--concurrent-namespace-syncs=10", "--kube-api-qps=500", "--kube-api-burst=1000",
		"--root-ca-file="+p.rootCA(options.Dir))
	p.manager.Stdout, p.manager.Stderr = log, log
	if err := p.manager.Start(); err != nil {
		return fmt.Errorf("cannot start kube-controller-manager: %w", err)
	}
	return nil
}

// rootCA writes the certificate authority of the API server to a file, and returns its path.
func (p *ControlPlane) rootCA(dir string) string {
	path := filepath.Join(dir, "ca.crt")
	// Without the file, the controller manager logs an error and does not publish the certificate. Nothing else fails.
	_ = os.WriteFile(path, p.Config.CAData, 0o600)
	return path
}

// Stop stops the control plane and removes its data.
func (p *ControlPlane) Stop() error {
	var failure error
	if p.manager != nil && p.manager.Process != nil {
		failure = stop(p.manager)
	}
	return errors.Join(failure, p.environment.Stop())
}

// stop stops a process that this package has started.
func stop(command *exec.Cmd) error {
	if err := command.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	select {
	case <-ended:
		return nil
	case <-time.After(stopTimeout):
		return command.Process.Kill()
	}
}

// Run runs kubectl as the administrator, and returns its output.
func (p *ControlPlane) Run(input string, arguments ...string) (string, error) {
	command := exec.Command(p.Kubectl, append([]string{"--kubeconfig=" + p.Kubeconfig}, arguments...)...)
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	command.Stdin = strings.NewReader(input)
	err := command.Run()
	if err != nil {
		err = fmt.Errorf("kubectl %s: %w\n%s", strings.Join(arguments, " "), err, output.String())
	}
	return output.String(), err
}

// ServiceAccount writes a kubeconfig with a token of a ServiceAccount into a folder, and returns its path.
func (p *ControlPlane) ServiceAccount(namespace, name, dir string) (string, error) {
	token, err := p.Run("", "create", "token", name, "--namespace="+namespace, "--duration=2h")
	if err != nil {
		return "", err
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["test"] = &clientcmdapi.Cluster{
		Server: p.Config.Host, CertificateAuthorityData: p.Config.CAData,
	}
	config.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: strings.TrimSpace(token)}
	config.Contexts[name] = &clientcmdapi.Context{Cluster: "test", AuthInfo: name}
	config.CurrentContext = name
	path := filepath.Join(dir, name+".kubeconfig")
	return path, clientcmd.WriteToFile(*config, path)
}
