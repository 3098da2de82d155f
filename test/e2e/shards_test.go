// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/await"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// shardLabel is the label that assigns a session to a shard.
const shardLabel = "payops.example/shard"

// shard is a manager for the sessions of a namespace with one label, and the requests that it sends to the API server.
type shard struct {
	name, namespace string
	manager         *manager

	mu sync.Mutex
	// requests holds the method, path and query of each request.
	requests []string
}

// startShard starts a manager that reaches the API server through a proxy, which records the requests.
func startShard(t *testing.T, name, namespace string) *shard {
	t.Helper()
	started := &shard{name: name, namespace: namespace}
	behind, err := url.Parse(plane.Config.Host)
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(plane.Config.CAData)
	proxy := &httputil.ReverseProxy{
		Rewrite: func(request *httputil.ProxyRequest) {
			request.SetURL(behind)
			started.mu.Lock()
			defer started.mu.Unlock()
			started.requests = append(started.requests, request.In.Method+" "+request.In.URL.RequestURI())
		},
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}},
		// Every event of a watch is forwarded at once.
		FlushInterval: -1,
	}
	server := httptest.NewTLSServer(proxy)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	config, err := clientcmd.LoadFromFile(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.Clusters["test"].Server = server.URL
	certificate := &pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}
	config.Clusters["test"].CertificateAuthorityData = pem.EncodeToMemory(certificate)
	through := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, through); err != nil {
		t.Fatal(err)
	}
	started.manager = startManager(t, "--kubeconfig="+through, watching(namespace), "--leader-elect",
		"--watch-label-selector="+shardLabel+"="+name)
	return started
}

// requested reports whether the manager has sent a request that contains all parts.
func (s *shard) requested(parts ...string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.requests, func(request string) bool {
		return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(request, part) })
	})
}

// awaitRequest waits until the manager has sent such a request.
func (s *shard) awaitRequest(t *testing.T, parts ...string) {
	t.Helper()
	what := fmt.Sprintf("manager %s has sent a request with %q", s.name, parts)
	await.True(t, what, func() bool { return s.requested(parts...) })
}

// writesProviders reports whether the manager has written a provider or a Secret in its namespace.
func (s *shard) writesProviders() bool {
	return s.requested("PATCH", s.namespace+"/paymentproviders/") || s.requested("PATCH", s.namespace+"/secrets/")
}

// shardOf assigns a session to a shard.
func shardOf(name string) gen.SessionOption {
	return func(session *v1alpha1.PaymentSession) { session.Labels = map[string]string{shardLabel: name} }
}

// TestShards runs two managers, each for half of the sessions of a namespace. No manager writes the sessions of
// another shard, and only one writes providers.
func TestShards(t *testing.T) {
	t.Parallel()
	upstreams, simulated := simulate(t)
	namespace := newNamespace(t, simulated)
	shards := []*shard{startShard(t, "a", namespace), startShard(t, "b", namespace)}
	nobodys := shardedSession(t, upstreams, namespace, "c", 0, gen.Active)
	sessions := map[string][]*v1alpha1.PaymentSession{}
	for _, each := range shards {
		for i := range 8 {
			session := shardedSession(t, upstreams, namespace, each.name, i, gen.Active)
			sessions[each.name] = append(sessions[each.name], session)
		}
	}
	for name, list := range sessions {
		for i, session := range list {
			await.Reason(t, api, session, v1alpha1.ReasonObserved)
			var err error
			if i%2 == 0 {
				err = api.Patch(t.Context(), session, gen.Expire())
			} else {
				err = api.Delete(t.Context(), session)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		for i, session := range list {
			if i%2 == 0 {
				await.Reason(t, api, session, v1alpha1.ReasonExpired)
			} else {
				await.Gone(t, api, session)
			}
			if state := upstreams.State(session.Spec.ProviderRef.Name, session.Spec.SessionID); state != simulator.Expired {
				t.Errorf("%s of shard %s is %s", session.Name, name, state)
			}
		}
	}
	if got := upstreams.CallsOf(nobodys.Spec.ProviderRef.Name, nobodys.Spec.SessionID); len(got) > 0 {
		t.Errorf("the session outside every shard caused the calls %v", got)
	}
	writer, other := shards[0], shards[1]
	if other.writesProviders() {
		writer, other = other, writer
	}
	theProviderIsHeldForTheOtherShard(t, upstreams, namespace, writer, other)
	for _, each := range shards {
		for _, stranger := range []string{"a", "b", "c"} {
			if stranger != each.name && each.requested("PATCH", "/paymentsessions/shard-"+stranger) {
				t.Errorf("manager %s has written sessions of shard %s", each.name, stranger)
			}
		}
	}
	if other.writesProviders() {
		t.Errorf("both managers have written providers: %s", other.requests)
	}
	theOtherTakesOver(t, upstreams, namespace, writer, other)
	kubectl(t, "", "patch", "paysess", nobodys.Name, "-n", namespace, "--type=merge", "-p", noFinalizers)
}

// theProviderIsHeldForTheOtherShard deletes a provider that only a session of the other shard needs. The manager that
// writes the provider does not have that session in its cache, and keeps the finalizer all the same.
func theProviderIsHeldForTheOtherShard(
	t *testing.T, upstreams *simulator.Simulator, namespace string, writer, other *shard,
) {
	t.Helper()
	open := shardedSession(t, upstreams, namespace, other.name, 100, gen.Active)
	await.Reason(t, api, open, v1alpha1.ReasonObserved)
	provider := open.Spec.ProviderRef.Name
	for _, each := range []string{writer.name, other.name} {
		kubectl(t, "", "delete", "paysess", "-n", namespace, "-l", shardLabel+"="+each,
			"--field-selector=metadata.name!="+open.Name, "--timeout=60s")
	}
	kubectl(t, "", "delete", "paymentprovider", provider, "-n", namespace, "--wait=false")
	writer.awaitRequest(t, "GET", "/paymentsessions?", url.QueryEscape("spec.providerRef.name="+provider))
	held := gen.Provider(namespace, provider)
	await.Until(t, api, held, "it is being deleted and held", func(held *v1alpha1.PaymentProvider) bool {
		return !held.DeletionTimestamp.IsZero() && slices.Contains(held.Finalizers, v1alpha1.InUseFinalizer)
	})
	kubectl(t, "", "delete", "paysess", open.Name, "-n", namespace, "--timeout=60s")
	if state := upstreams.State(provider, open.Spec.SessionID); state != simulator.Expired {
		t.Errorf("the session is %s, although its provider was held for it", state)
	}
	await.Gone(t, api, gen.Provider(namespace, provider))
}

// theOtherTakesOver stops the manager that writes providers. The other one then writes them.
func theOtherTakesOver(t *testing.T, upstreams *simulator.Simulator, namespace string, writer, other *shard) {
	t.Helper()
	writer.manager.stop(t)
	created := gen.Provider(namespace, "omise", gen.Endpoint("https://example.invalid"))
	created.Name, created.Spec.CredentialsSecretRef.Name = "late", "late"
	secret := gen.Secret(namespace, "omise")
	secret.Name = "late"
	create(t, secret, created)
	await.Reason(t, api, created, v1alpha1.ReasonAccountReady)
	if !other.writesProviders() {
		t.Error("the provider is ready, but the remaining manager has not written it")
	}
	await.Reason(t, api, shardedSession(t, upstreams, namespace, other.name, 101), v1alpha1.ReasonExpired)
}

// shardedSession creates a session of a shard. Only session 100 uses the last provider.
func shardedSession(
	t *testing.T, upstreams *simulator.Simulator, namespace, shard string, number int, options ...gen.SessionOption,
) *v1alpha1.PaymentSession {
	t.Helper()
	provider := gen.Providers[number%3]
	if number == 100 {
		provider = gen.Providers[3]
	}
	id := gen.ID(provider, number+1000*int(shard[0]))
	upstreams.Add(simulator.Object{Provider: provider, ID: id, State: simulator.Open})
	name := fmt.Sprintf("shard-%s-%d", shard, number)
	session := gen.Session(namespace, name, provider, id, append(options, shardOf(shard))...)
	create(t, session)
	return session
}
