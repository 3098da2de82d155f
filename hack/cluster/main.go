// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Command cluster starts and stops the control plane of hack/controlplane in the background.
//
//	cluster up    starts it and prints its kubeconfig's path as the last line
//	cluster down  stops it
//
// Both find it by --dir.
package main

import (
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

	"github.com/payops-dev/payment-session-operator/test/controlplane"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

const startTimeout = 2 * time.Minute

func main() {
	dir := flag.String("dir", filepath.Join(gen.Root(), "bin", "controlplane"), "where the kubeconfig, the logs and the process id are kept")
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

// up starts this program again, detached, and waits until it serves.
func up(dir string) error {
	if process := running(dir); process != nil {
		fmt.Fprintf(os.Stderr, "the control plane runs already, as process %d\n", process.Pid)
		fmt.Println(kubeconfig(dir))
		return nil
	}
	// Building may take minutes; its progress belongs on this terminal.
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
	deadline := time.After(startTimeout)
	for {
		select {
		case <-ended:
			return fmt.Errorf("the control plane did not start; see %s", log.Name())
		case <-deadline:
			return errors.Join(fmt.Errorf("the control plane did not start within %s; see %s", startTimeout, log.Name()), server.Process.Signal(syscall.SIGTERM))
		case <-time.After(100 * time.Millisecond):
		}
		if running(dir) != nil {
			fmt.Println(kubeconfig(dir))
			return nil
		}
	}
}

// serve runs the control plane until it is told to end.
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

// down ends the process that up started, and waits until it has.
func down(dir string) error {
	process := running(dir)
	if process == nil {
		fmt.Fprintln(os.Stderr, "no control plane runs")
		return nil
	}
	if err := process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	deadline := time.Now().Add(startTimeout)
	for running(dir) != nil {
		if time.Now().After(deadline) {
			return fmt.Errorf("process %d does not end", process.Pid)
		}
		time.Sleep(100 * time.Millisecond)
	}
	return nil
}

// running is the process that serves; nil where there is none.
func running(dir string) *os.Process {
	text, err := os.ReadFile(pidFile(dir))
	if err != nil {
		return nil
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return nil
	}
	// After a crash the number may be another process's.
	if program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil && filepath.Base(program) != "cluster" {
		return nil
	}
	process, err := os.FindProcess(pid)
	if err != nil || process.Signal(syscall.Signal(0)) != nil {
		return nil
	}
	return process
}
