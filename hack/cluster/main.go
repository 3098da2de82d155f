// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Command cluster starts and stops the control plane of hack/controlplane in the background.
//
//	cluster up    starts it and prints the path of its kubeconfig on the last line
//	cluster down  stops it
//
// Both use the files in the folder --dir.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/payops-dev/payment-session-operator/test/controlplane"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// startTimeout is how long the control plane may take to start, and to stop.
const startTimeout = 2 * time.Minute

func main() {
	dir := flag.String("dir", filepath.Join(gen.Root(), "bin", "controlplane"),
		"folder for the kubeconfig, the logs and the process id")
	flag.Parse()
	commands := map[string]func(string) error{"up": up, "down": down, "serve": serve}
	command, known := commands[flag.Arg(0)]
	if !known {
		fmt.Fprintln(os.Stderr, "usage: cluster [--dir DIR] up|down")
		os.Exit(2)
	}
	if err := command(*dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func pidFile(dir string) string    { return filepath.Join(dir, "pid") }
func kubeconfig(dir string) string { return filepath.Join(dir, "kubeconfig") }

// up starts this program with the command serve in the background, and waits until the control plane is ready.
func up(dir string) error {
	if process := running(dir); process != nil {
		fmt.Fprintf(os.Stderr, "the control plane is already running, as process %d\n", process.Pid)
		fmt.Println(kubeconfig(dir))
		return nil
	}
	// The build may take minutes. Run it here, so that the user sees its progress.
	if _, err := controlplane.Assets(); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	server := exec.Command(self, "--dir", dir, "serve")
	server.Stdout, server.Stderr = log, log
	server.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := server.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Wait() }()
	err = poll(func() (bool, error) {
		select {
		case <-ended:
			return false, fmt.Errorf("the control plane did not start; see %s", log.Name())
		default:
			return running(dir) != nil, nil
		}
	})
	if wait.Interrupted(err) {
		err = fmt.Errorf("the control plane did not start within %s; see %s", startTimeout, log.Name())
		return errors.Join(err, server.Process.Signal(syscall.SIGTERM))
	}
	if err != nil {
		return err
	}
	fmt.Println(kubeconfig(dir))
	return nil
}

// poll calls a function until it reports true or an error, for at most startTimeout.
func poll(done func() (bool, error)) error {
	const interval = 100 * time.Millisecond
	return wait.PollUntilContextTimeout(context.Background(), interval, startTimeout, true,
		func(context.Context) (bool, error) { return done() })
}

// serve runs the control plane until SIGTERM or SIGINT.
func serve(dir string) error {
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, syscall.SIGTERM, syscall.SIGINT)
	plane, err := controlplane.Start(controlplane.Options{Dir: dir, ControllerManager: true})
	if err != nil {
		return err
	}
	if err := os.WriteFile(pidFile(dir), []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		return errors.Join(err, plane.Stop())
	}
	<-interrupted
	return errors.Join(plane.Stop(), os.Remove(pidFile(dir)))
}

// down stops the process that up has started, and waits until it has exited.
func down(dir string) error {
	process := running(dir)
	if process == nil {
		fmt.Fprintln(os.Stderr, "no control plane is running")
		return nil
	}
	if err := process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := poll(func() (bool, error) { return running(dir) == nil, nil }); err != nil {
		return fmt.Errorf("process %d did not exit within %s", process.Pid, startTimeout)
	}
	return nil
}

// running returns the process of the control plane, or nil if there is none.
func running(dir string) *os.Process {
	text, err := os.ReadFile(pidFile(dir))
	if err != nil {
		return nil
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return nil
	}
	// After a crash, another process may have this id.
	if program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil && filepath.Base(program) != "cluster" {
		return nil
	}
	process, err := os.FindProcess(pid)
	if err != nil || process.Signal(syscall.Signal(0)) != nil {
		return nil
	}
	return process
}
