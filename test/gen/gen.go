// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package gen makes the objects and patches that tests use. Every test makes its objects here.
package gen

import (
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
)

// Providers are the shipped classes' names.
var Providers = []string{"circle", "helio", "omise", "txn"}

// ID returns a session id that matches the provider's pattern. Each number has its own id.
func ID(provider string, number int) string {
	if provider == "omise" {
		return fmt.Sprintf("chrg_test_5xuy4w91xqz7d%04d", number)
	}
	return fmt.Sprintf("8755d0ea-14f9-4259-b092-%012d", number)
}

// Numbered returns another id of the same form as one from the examples of a class.
func Numbered(id string, number int) string {
	const digits = 6
	return fmt.Sprintf("%s%0*d", id[:len(id)-digits], digits, number)
}

// SessionOption changes a session that Session makes.
type SessionOption func(*v1alpha1.PaymentSession)

// Session makes a PaymentSession with the desired state expired. Its PaymentProvider has the name of the provider.
func Session(namespace, name, provider, id string, options ...SessionOption) *v1alpha1.PaymentSession {
	session := &v1alpha1.PaymentSession{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.PaymentSessionSpec{
			ProviderRef:    v1alpha1.ProviderReference{Kind: v1alpha1.KindPaymentProvider, Name: provider},
			SessionID:      id,
			DesiredState:   v1alpha1.DesiredStateExpired,
			DeletionPolicy: v1alpha1.DeletionPolicyExpire,
		},
	}
	for _, option := range options {
		option(session)
	}
	return session
}

// Active sets the desired state active.
func Active(session *v1alpha1.PaymentSession) {
	session.Spec.DesiredState = v1alpha1.DesiredStateActive
}

// Suspended suspends a session.
func Suspended(session *v1alpha1.PaymentSession) { session.Spec.Suspend = true }

// Retained keeps the session at the provider when its object is deleted.
func Retained(session *v1alpha1.PaymentSession) {
	session.Spec.DeletionPolicy = v1alpha1.DeletionPolicyRetain
}

// ClusterProvider makes a session refer to a ClusterPaymentProvider.
func ClusterProvider(name string) SessionOption {
	return func(session *v1alpha1.PaymentSession) {
		session.Spec.ProviderRef = v1alpha1.ProviderReference{Kind: v1alpha1.KindClusterPaymentProvider, Name: name}
	}
}

// ExpireAt sets the desired state active, until a time.
func ExpireAt(at time.Time) SessionOption {
	return func(session *v1alpha1.PaymentSession) {
		session.Spec.DesiredState = v1alpha1.DesiredStateActive
		session.Spec.ExpireAt = &metav1.Time{Time: at.Truncate(time.Second)}
	}
}

// TTLAfterClosed deletes a session that long after it was closed.
func TTLAfterClosed(ttl time.Duration) SessionOption {
	return func(session *v1alpha1.PaymentSession) {
		session.Spec.TTLAfterClosed = &metav1.Duration{Duration: ttl}
	}
}

// ReconcileAt sets the annotation that requests a refresh.
func ReconcileAt(value string) SessionOption {
	return func(session *v1alpha1.PaymentSession) {
		metav1.SetMetaDataAnnotation(&session.ObjectMeta, v1alpha1.ReconcileAtAnnotation, value)
	}
}

// SweepOption changes a sweep that Sweep makes.
type SweepOption func(*v1alpha1.PaymentSweep)

// Sweep makes a PaymentSweep that expires what its namespace owns when the namespace is deleted.
func Sweep(namespace, name, provider string, options ...SweepOption) *v1alpha1.PaymentSweep {
	sweep := &v1alpha1.PaymentSweep{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.PaymentSweepSpec{
			ProviderRef:    v1alpha1.ProviderReference{Kind: v1alpha1.KindPaymentProvider, Name: provider},
			DeletionPolicy: v1alpha1.DeletionPolicyExpire,
		},
	}
	for _, option := range options {
		option(sweep)
	}
	return sweep
}

// Reporting makes a sweep report only.
func Reporting(sweep *v1alpha1.PaymentSweep) {
	sweep.Spec.DeletionPolicy = v1alpha1.DeletionPolicyRetain
}

// ProviderOption changes the spec of a provider that ProviderSpec makes.
type ProviderOption func(*v1alpha1.PaymentProviderSpec)

// Endpoint sets the base URL of a provider.
func Endpoint(url string) ProviderOption {
	return func(spec *v1alpha1.PaymentProviderSpec) { spec.Endpoint = url }
}

// PollInterval sets how often active sessions are read.
func PollInterval(interval time.Duration) ProviderOption {
	return func(spec *v1alpha1.PaymentProviderSpec) { spec.PollInterval = &metav1.Duration{Duration: interval} }
}

// RateLimit sets the rate limit of an account, with a burst of the same size.
func RateLimit(requests int32, per time.Duration) ProviderOption {
	return func(spec *v1alpha1.PaymentProviderSpec) {
		spec.RateLimit = v1alpha1.RateLimit{Requests: requests, Per: &metav1.Duration{Duration: per}, Burst: requests}
	}
}

// Marks is the owner expression of a rule for marks that the simulator puts on the sessions of a provider, as
// cluster/namespace.
func Marks(provider string) v1alpha1.Expression {
	switch provider {
	case "circle", "helio":
		return "session.reference"
	case "txn":
		return "session.reference.split('/')[0] + '/' + session.reference.split('/')[1]"
	default:
		return "session.tags.?cluster.orValue('') + '/' + session.tags.?namespace.orValue('')"
	}
}

// Owned gives a provider the ownership rule for these marks.
func Owned(provider string) ProviderOption {
	return func(spec *v1alpha1.PaymentProviderSpec) { spec.Ownership = v1alpha1.Ownership{Owner: Marks(provider)} }
}

// Swept gives a provider the ownership rule for these marks, and allows sweeps.
func Swept(provider string) ProviderOption {
	return func(spec *v1alpha1.PaymentProviderSpec) {
		Owned(provider)(spec)
		spec.SweepPolicy = v1alpha1.SweepAllow
	}
}

// Timeout sets how long a call may take.
func Timeout(timeout time.Duration) ProviderOption {
	return func(spec *v1alpha1.PaymentProviderSpec) { spec.Timeout = &metav1.Duration{Duration: timeout} }
}

// ProviderSpec makes a spec. The class and the Secret have the name of the provider.
func ProviderSpec(provider string, options ...ProviderOption) v1alpha1.PaymentProviderSpec {
	spec := v1alpha1.PaymentProviderSpec{
		ClassName:            provider,
		CredentialsSecretRef: v1alpha1.SecretReference{Name: provider},
	}
	for _, option := range options {
		option(&spec)
	}
	return spec
}

// Provider makes a PaymentProvider with the name of its class.
func Provider(namespace, provider string, options ...ProviderOption) *v1alpha1.PaymentProvider {
	return &v1alpha1.PaymentProvider{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: provider},
		Spec:       ProviderSpec(provider, options...),
	}
}

// ClusterPaymentProvider makes a ClusterPaymentProvider that the selected namespaces may use.
func ClusterPaymentProvider(
	name, provider string, allowed *v1alpha1.NamespaceSelector, options ...ProviderOption,
) *v1alpha1.ClusterPaymentProvider {
	return &v1alpha1.ClusterPaymentProvider{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.ClusterPaymentProviderSpec{
			PaymentProviderSpec: ProviderSpec(provider, options...),
			AllowedNamespaces:   allowed,
		},
	}
}

// Secret makes the Secret with the credentials that the simulator accepts for a provider.
func Secret(namespace, provider string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: provider},
		StringData: simulator.Keys()[provider],
	}
}

// Class reads a shipped PaymentProviderClass. It panics if it cannot, because no test can go on then.
func Class(name string) *v1alpha1.PaymentProviderClass {
	return ClassFile(filepath.Join(Root(), "config", "classes", name+".yaml"))
}

// ClassFile reads the PaymentProviderClass of a file. It panics if it cannot.
func ClassFile(path string) *v1alpha1.PaymentProviderClass {
	text, err := os.ReadFile(path)
	if err != nil {
		panic(err)
	}
	return ParseClass(string(text))
}

// Catalogue returns the files of the classes of the catalogue.
func Catalogue() []string {
	folders, err := filepath.Glob(filepath.Join(Root(), "config", "classes", "catalogue", "*", "kustomization.yaml"))
	if err != nil || len(folders) == 0 {
		panic(fmt.Sprintf("the catalogue is not found: %v", err))
	}
	paths := make([]string, 0, len(folders))
	for _, path := range folders {
		folder := filepath.Dir(path)
		paths = append(paths, filepath.Join(folder, filepath.Base(folder)+".yaml"))
	}
	return paths
}

// ParseClass reads a PaymentProviderClass from YAML. It panics if it cannot.
func ParseClass(text string) *v1alpha1.PaymentProviderClass {
	class := &v1alpha1.PaymentProviderClass{}
	if err := yaml.UnmarshalStrict([]byte(strings.TrimSpace(text)), class); err != nil {
		panic(err)
	}
	return class
}

// Scheme returns a scheme with every kind that tests use.
func Scheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	return scheme
}

// CRDs returns the folder of the CustomResourceDefinitions.
func CRDs() string { return filepath.Join(Root(), "config", "crd", "bases") }

// Root returns the folder of the repository.
func Root() string {
	_, file, _, _ := goruntime.Caller(0) //nolint:dogsled // Only the file is needed.
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// ExpiredStatus returns the status that the manager writes for an Omise session that it has expired.
func ExpiredStatus(now metav1.Time) v1alpha1.PaymentSessionStatus {
	status := v1alpha1.PaymentSessionStatus{
		ObservedGeneration: 1, State: v1alpha1.SessionStateExpired, ClosedAt: &now,
		Upstream: &v1alpha1.UpstreamStatus{Status: "expired", ExpiredAt: &now},
	}
	// This must be exactly what the manager writes, or it would write the status again.
	const message = "The provider shows the session as expired."
	status.Conditions = readyAndExpired(v1alpha1.ReasonExpired, message, metav1.ConditionTrue, now)
	return status
}

// ActiveStatus returns the status that the manager writes for an Omise session that is active, as desired.
func ActiveStatus(now metav1.Time) v1alpha1.PaymentSessionStatus {
	const message = "The provider shows the session as active."
	return v1alpha1.PaymentSessionStatus{
		ObservedGeneration: 1, State: v1alpha1.SessionStateActive, Upstream: &v1alpha1.UpstreamStatus{Status: "pending"},
		Conditions: readyAndExpired(v1alpha1.ReasonObserved, message, metav1.ConditionFalse, now),
	}
}

func readyAndExpired(reason, message string, expired metav1.ConditionStatus, now metav1.Time) []metav1.Condition {
	return []metav1.Condition{
		{
			Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: reason, Message: message,
			ObservedGeneration: 1, LastTransitionTime: now,
		},
		{
			Type: v1alpha1.ConditionExpired, Status: expired, Reason: reason,
			ObservedGeneration: 1, LastTransitionTime: now,
		},
	}
}
