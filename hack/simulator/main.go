// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Command simulator serves the four simulated providers on one address, or shows the state of a running simulator. It
// also serves any other provider from the examples beside its class.
//
//	simulator serve --listen 127.0.0.1:9090 --objects objects.yaml
//	simulator serve --class docs/tutorial/lumen.yaml --open 'LM-1042'
//	simulator add --provider omise --id chrg_test_1 --owner eu/pr-123   adds a session, as an application opens one
//	simulator objects --url http://127.0.0.1:9090   the sessions in its books and their states
//	simulator calls --url http://127.0.0.1:9090     the calls that it has received
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"text/tabwriter"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/payops-dev/payment-session-operator/internal/httpx"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/internal/simulator/catalogue"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) == 0 {
		return errors.New("usage: simulator serve|add|objects|calls [flags]")
	}
	flags := flag.NewFlagSet(arguments[0], flag.ExitOnError)
	listen := flags.String("listen", "127.0.0.1:9090", "address to serve on")
	objects := flags.String("objects", "", "YAML file with the initial sessions")
	class := flags.String("class", "", "file of a class to serve from its examples, too")
	open := flags.String("open", "", "id of an open session of that class")
	url := flags.String("url", "http://127.0.0.1:9090", "URL of a running simulator")
	added := simulator.Object{}
	flags.StringVar(&added.Provider, "provider", "", "provider of the session to add")
	flags.StringVar(&added.ID, "id", "", "id of the session to add")
	flags.StringVar((*string)(&added.State), "state", string(simulator.Open), "state of the session to add")
	flags.StringVar(&added.Owner, "owner", "", "mark of the session to add, as cluster/namespace")
	if err := flags.Parse(arguments[1:]); err != nil {
		return err
	}
	switch arguments[0] {
	case "serve":
		return serve(*listen, *objects, *class, *open)
	case "add":
		if added.Provider == "" || added.ID == "" {
			return errors.New("add needs --provider and --id")
		}
		return add(*url+"/simulator/objects", added)
	case "objects":
		return list(*url+"/simulator/objects", "PROVIDER\tID\tSTATE\tOWNER", func(object simulator.Object) string {
			return fmt.Sprintf("%s\t%s\t%s\t%s", object.Provider, object.ID, object.State, cmp.Or(object.Owner, "-"))
		})
	case "calls":
		return list(*url+"/simulator/calls", "PROVIDER\tOPERATION\tID\tREPLY", func(call simulator.Call) string {
			return fmt.Sprintf("%s\t%s\t%s\t%d", call.Provider, call.Operation, call.ID, call.Code)
		})
	default:
		return fmt.Errorf("unknown command %q: want serve, add, objects or calls", arguments[0])
	}
}

func serve(listen, objects, class, open string) error {
	upstreams := simulator.New()
	names := []string{"circle", "helio", "omise", "txn"}
	if open != "" && class == "" {
		return errors.New("--open names a session of the class in --class")
	}
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", listen)
	if err != nil {
		return err
	}
	if class != "" {
		described, err := catalogue.Load(context.Background(), class)
		if err != nil {
			return err
		}
		upstreams.Describe(described)
		if open != "" {
			upstreams.Add(simulator.Object{Provider: described.Name, ID: open, State: simulator.Open})
		}
		names = append(names, described.Name)
		for _, name := range slices.Sorted(maps.Keys(described.Keys)) {
			fmt.Printf("the credential %s of %s is %s\n", name, described.Name, described.Keys[name])
		}
	}
	if objects != "" {
		text, err := os.ReadFile(objects)
		if err != nil {
			return err
		}
		var known []simulator.Object
		if err := yaml.UnmarshalStrict(text, &known); err != nil {
			return fmt.Errorf("%s: %w", objects, err)
		}
		for _, object := range known {
			upstreams.Add(object)
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	server := &http.Server{Handler: upstreams.Handler(), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		<-ctx.Done()
		upstreams.Close()
		_ = server.Close()
	}()
	for _, name := range names {
		fmt.Printf("%s is served at http://%s/%s\n", name, listener.Addr(), name)
	}
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// add puts a session into the books of a running simulator.
func add(url string, object simulator.Object) error {
	body, err := json.Marshal(object)
	if err != nil {
		return err
	}
	_, err = ask(http.MethodPut, url, body)
	return err
}

// ask makes a call to a running simulator and returns the body of its reply.
func ask(method, url string, body []byte) ([]byte, error) {
	request, err := http.NewRequestWithContext(context.Background(), method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	door := httpx.New(httpx.Options{AllowPrivate: true, Timeout: 10 * time.Second})
	defer door.Close()
	reply, err := door.Do(context.Background(), request)
	if err != nil {
		return nil, fmt.Errorf("cannot call %s: %w; is the simulator running?", url, err)
	}
	if reply.Code >= http.StatusBadRequest {
		return nil, fmt.Errorf("%s answers %d: %s", url, reply.Code, reply.Body)
	}
	return reply.Body, nil
}

// list reads a list from a running simulator and prints it as a table.
func list[T any](url, heading string, row func(T) string) error {
	text, err := ask(http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	var rows []T
	if err := json.Unmarshal(text, &rows); err != nil {
		return fmt.Errorf("%s: %w", url, err)
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, heading)
	for _, each := range rows {
		fmt.Fprintln(table, row(each))
	}
	return table.Flush()
}
