// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Command manager is the payment-session operator.
//
//	manager [flags]      runs the operator
//	manager uninstall    deletes the CRDs with all objects, expires nothing, and leaves no finalizer behind
package main

import (
	"context"
	"flag"
	"fmt"
	"hash/fnv"
	"io"
	"log"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/util/uuid"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/controllers"
	"github.com/payops-dev/payment-session-operator/internal/httpx"
	"github.com/payops-dev/payment-session-operator/internal/logs"
	"github.com/payops-dev/payment-session-operator/internal/uninstall"
)

// version is set by the linker.
var version = "dev"

const (
	projectName = "payment-session-operator"
	leasePrefix = projectName + ".payops.dev"
	// shutdownTimeout is long enough for the longest call that a provider's timeout allows, and for its status. The
	// Deployment's termination grace period is longer.
	shutdownTimeout = 75 * time.Second
)

type options struct {
	metricsAddress           string
	metricsSecure            bool
	probeAddress             string
	leaderElect              bool
	maxConcurrentReconciles  int
	watchNamespaces          string
	watchLabelSelector       string
	clusterResourceNamespace string
	clusterName              string
	dryRun                   bool
	allowPrivateEndpoints    bool
	zap                      zap.Options
}

func (o *options) bind(flags *flag.FlagSet) {
	flags.StringVar(&o.metricsAddress, "metrics-bind-address", ":8443", "The address of the metrics endpoint; 0 "+
		"disables it.")
	flags.BoolVar(&o.metricsSecure, "metrics-secure", true,
		"Serve metrics over TLS, and only to clients that may get /metrics.")
	flags.StringVar(&o.probeAddress, "health-probe-bind-address", ":8081", "The address of /healthz and /readyz; 0 "+
		"disables them.")
	flags.BoolVar(&o.leaderElect, "leader-elect", false, "Elect a leader among several managers. Only the leader works.")
	flags.IntVar(&o.maxConcurrentReconciles, "max-concurrent-reconciles", 8,
		"How many sessions are reconciled at the same time. Calls to providers do not count: they run outside the workers.")
	flags.StringVar(&o.watchNamespaces, "watch-namespaces", "", "The namespaces whose sessions and providers are "+
		"reconciled, separated by commas; empty for all.")
	flags.StringVar(&o.watchLabelSelector, "watch-label-selector", "", "A label selector for the sessions that are "+
		"reconciled; empty for all.")
	flags.StringVar(&o.clusterResourceNamespace, "cluster-resource-namespace", "payops-system",
		"The namespace of the Secrets of ClusterPaymentProviders and of the leases.")
	flags.StringVar(&o.clusterName, "cluster-name", "", "The name of this cluster in ownership rules. No other cluster "+
		"that uses the same accounts may have it.")
	flags.BoolVar(&o.dryRun, "dry-run", false,
		"Make no call that changes anything at a provider. The status says WouldExpire instead.")
	flags.BoolVar(&o.allowPrivateEndpoints, "allow-private-endpoints", false,
		"Allow endpoints with plain http, and with loopback or private addresses, for tests and demos.")
	o.zap.BindFlags(flags)
}

func main() {
	var opts options
	opts.bind(flag.CommandLine)
	flag.Parse()
	ctrl.SetLogger(logs.Usual(opts.zap))
	// net/http logs what a server sends unasked to the standard logger, and a hostile server may echo a credential.
	log.SetOutput(io.Discard)
	ctx := ctrl.SetupSignalHandler()
	command := func() error { return run(ctx, opts) }
	if flag.Arg(0) == "uninstall" {
		command = func() error { return runUninstall(ctx) }
	}
	if err := command(); err != nil {
		ctrl.Log.Error(err, "the manager stopped")
		os.Exit(1)
	}
}

// runUninstall deletes the CRDs with all objects, for make uninstall and the chart's hook.
func runUninstall(ctx context.Context) error {
	api, err := client.New(ctrl.GetConfigOrDie(), client.Options{Scheme: newScheme()})
	if err != nil {
		return fmt.Errorf("cannot reach the API server: %w", err)
	}
	return uninstall.Run(ctx, api, ctrl.Log.WithName("uninstall"))
}

func run(ctx context.Context, opts options) error {
	httpx.UserAgent = projectName + "/" + version
	cacheOptions, err := opts.cache()
	if err != nil {
		return err
	}
	mgr, err := ctrl.NewManager(ctrl.GetConfigOrDie(), ctrl.Options{
		Scheme:                        newScheme(),
		Cache:                         cacheOptions,
		Metrics:                       opts.metrics(),
		HealthProbeBindAddress:        opts.probeAddress,
		LeaderElection:                opts.leaderElect,
		LeaderElectionID:              opts.lease(),
		LeaderElectionNamespace:       opts.clusterResourceNamespace,
		LeaderElectionReleaseOnCancel: true,
		GracefulShutdownTimeout:       new(shutdownTimeout),
		Client:                        client.Options{FieldOwner: projectName},
	})
	if err != nil {
		return fmt.Errorf("cannot create the manager: %w", err)
	}
	lease, clusterLease, err := opts.writeLeases(mgr.GetConfig())
	if err != nil {
		return err
	}
	if err := controllers.Setup(ctx, mgr, controllers.Options{
		Workers: opts.maxConcurrentReconciles, SecretNamespace: opts.clusterResourceNamespace,
		ClusterName: opts.clusterName, DryRun: opts.dryRun,
		AllowPrivate: opts.allowPrivateEndpoints, Now: time.Now, Jitter: rand.Float64, Metrics: metrics.Registry,
		Audit: logs.Audit(opts.zap), WriteLease: lease, ClusterWriteLease: clusterLease,
	}); err != nil {
		return err
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	if err := mgr.AddReadyzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	ctrl.Log.Info("starting", "version", version, "dryRun", opts.dryRun, "allowPrivateEndpoints",
		opts.allowPrivateEndpoints)
	return mgr.Start(ctx)
}

func newScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	return scheme
}

// cache returns the cache options for the shard that the flags describe.
func (o *options) cache() (cache.Options, error) {
	selector, err := labels.Parse(o.watchLabelSelector)
	if err != nil {
		return cache.Options{}, fmt.Errorf("--watch-label-selector: %w", err)
	}
	return controllers.CacheOptions(o.namespaces(), selector), nil
}

// namespaces returns the namespaces of --watch-namespaces, sorted and without duplicates.
func (o *options) namespaces() []string {
	names := strings.FieldsFunc(o.watchNamespaces, func(r rune) bool { return r == ',' || unicode.IsSpace(r) })
	slices.Sort(names)
	return slices.Compact(names)
}

func (o *options) metrics() metricsserver.Options {
	served := metricsserver.Options{BindAddress: o.metricsAddress, SecureServing: o.metricsSecure}
	if o.metricsSecure {
		served.FilterProvider = filters.WithAuthenticationAndAuthorization
	}
	return served
}

// lease returns the name of the leader's lease. Each shard has its own.
func (o *options) lease() string {
	namespaces := strings.Join(o.namespaces(), ",")
	if namespaces == "" && o.watchLabelSelector == "" {
		return leasePrefix
	}
	return leaseOf(namespaces + "\x00" + o.watchLabelSelector)
}

func leaseOf(shard string) string {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(shard))
	return fmt.Sprintf("%s-%08x", leasePrefix, hash.Sum32())
}

// writeLeases returns the right to write PaymentProviders, and the right to write objects without a namespace. Shards
// that see the same namespaces compete for the first, and all shards for the second. The leader of all sessions
// always holds both, and so does a manager without leader election, which must be the only one.
func (o *options) writeLeases(config *rest.Config) (namespaced, cluster *controllers.WriteLease, err error) {
	alone := controllers.NewWriteLease(nil)
	if !o.leaderElect || o.lease() == leasePrefix {
		return alone, alone, nil
	}
	if cluster, err = o.compete(config, leasePrefix+"-cluster"); err != nil {
		return nil, nil, err
	}
	switch {
	case o.watchLabelSelector == "":
		return alone, cluster, nil
	case len(o.namespaces()) == 0:
		return cluster, cluster, nil
	default:
		namespaced, err = o.compete(config, leaseOf(strings.Join(o.namespaces(), ",")))
		return namespaced, cluster, err
	}
}

func (o *options) compete(config *rest.Config, lease string) (*controllers.WriteLease, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("cannot get the host name for the lease %s: %w", lease, err)
	}
	identity := resourcelock.ResourceLockConfig{Identity: host + "_" + string(uuid.NewUUID())}
	lock, err := resourcelock.NewFromKubeconfig(
		resourcelock.LeasesResourceLock, o.clusterResourceNamespace, lease, identity, config, controllers.RenewDeadline)
	if err != nil {
		return nil, fmt.Errorf("cannot prepare the lease %s: %w", lease, err)
	}
	return controllers.NewWriteLease(lock), nil
}
