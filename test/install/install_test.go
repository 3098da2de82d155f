// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/await"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// definitions are those of the four kinds.
var definitions = []string{
	"crd/paymentsessions.payments.payops.dev", "crd/paymentproviders.payments.payops.dev",
	"crd/clusterpaymentproviders.payments.payops.dev", "crd/paymentproviderclasses.payments.payops.dev",
}

// TestEachWayToInstall installs by each of them on a control plane of its own, and lets a manager with the rights
// that came with it expire a session and tear a namespace down. TestUpgrade does make deploy.
func TestEachWayToInstall(t *testing.T) {
	t.Run("kubectl apply -k", func(t *testing.T) {
		c := newCluster(t)
		applyTwice(t, c, "-k", "config/default")
		c.startManager(t, "payops-system")
		works(t, c)
	})
	t.Run("one file", func(t *testing.T) {
		c := newCluster(t)
		output(t, "make", "--no-print-directory", "build-installer")
		applyTwice(t, c, "-f", "dist/install.yaml")
		c.startManager(t, "payops-system")
		works(t, c)
	})
	t.Run("the Helm chart", func(t *testing.T) {
		c := newCluster(t)
		c.must(t, tool("helm", "install", "pay", "dist/chart", "--namespace=payments", "--create-namespace")...)
		stop := c.startManager(t, "payments")
		works(t, c)
		clusterProvidersOnly(t, c)
		helmUninstall(t, c, stop)
	})
}

// works expires a session, and another one with its namespace.
func works(t *testing.T, c *cluster) {
	t.Helper()
	namespace := c.shop(t)
	await.Reason(t, c.api, c.session(t, namespace, 1), v1alpha1.ReasonExpired)
	await.Reason(t, c.api, c.session(t, namespace, 2, gen.Active), v1alpha1.ReasonObserved)
	c.must(t, "kubectl", "delete", "namespace", namespace, "--timeout=120s")
	for _, object := range c.upstreams.Objects() {
		if object.State != simulator.Expired {
			t.Errorf("%s is %s although its namespace is gone", object.ID, object.State)
		}
	}
}

// clusterProvidersOnly takes the right to read Secrets elsewhere away. A PaymentProvider then says so and is in
// nobody's way, and a ClusterPaymentProvider works.
func clusterProvidersOnly(t *testing.T, c *cluster) {
	t.Helper()
	upgrade := func(value string) {
		c.must(t, tool("helm", "upgrade", "pay", "dist/chart", "--namespace=payments", "--set=providers.clusterOnly="+value)...)
	}
	upgrade("true")
	namespace := c.shop(t)
	await.Reason(t, c.api, gen.Provider(namespace, "omise"), v1alpha1.ReasonCredentialsMissing)
	everyone := gen.ClusterPaymentProvider("everyone", "omise", &v1alpha1.NamespaceSelector{}, gen.Endpoint(c.url+"/omise"))
	for _, object := range []client.Object{gen.Secret("payments", "omise"), everyone} {
		if err := c.api.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	await.Reason(t, c.api, c.session(t, namespace, 3, gen.ClusterProvider("everyone")), v1alpha1.ReasonExpired)
	c.must(t, "kubectl", "delete", "namespace", namespace, "--timeout=120s")
	c.must(t, "kubectl", "delete", "clusterpaymentprovider", "everyone", "--timeout=60s")
	upgrade("false")
}

// applyTwice does what the README says: the definitions and the classes, which are objects of theirs, come in one go,
// and kubectl knows a kind only after its definition was taken.
func applyTwice(t *testing.T, c *cluster, arguments ...string) {
	t.Helper()
	apply := append([]string{"kubectl", "apply", "--server-side"}, arguments...)
	if written, err := c.run(t, apply...); err == nil || !strings.Contains(err.Error(), "PaymentProviderClass") {
		t.Errorf("the first apply: %v, want it to ask for a second one\n%s", err, written)
	}
	c.must(t, append([]string{"kubectl", "wait", "--for=condition=Established", "--timeout=60s"}, definitions...)...)
	c.must(t, apply...)
}

// helmUninstall lets the chart's hook take everything back, with no operator there that could let anything go. There
// is no kubelet here: the test runs the hook's Job as one would, under the ServiceAccount that the Job names.
func helmUninstall(t *testing.T, c *cluster, stop func()) {
	t.Helper()
	namespace := c.shop(t)
	for number := range 5 {
		await.Reason(t, c.api, c.session(t, namespace, 10+number, gen.Active), v1alpha1.ReasonObserved)
	}
	stop()
	before := len(c.upstreams.Calls())
	jobs := runJobs(t, c, "payments")
	c.must(t, tool("helm", "uninstall", "pay", "--namespace=payments", "--timeout=3m")...)
	if count := jobs(); count != 1 {
		t.Errorf("%d Jobs were run, want the hook's", count)
	}
	if calls := c.upstreams.Calls()[before:]; len(calls) > 0 {
		t.Errorf("the uninstall called the provider: %v", calls)
	}
	secret := gen.Secret(namespace, "omise")
	if err := c.api.Get(t.Context(), client.ObjectKeyFromObject(secret), secret); err != nil || len(secret.Finalizers) > 0 {
		t.Errorf("the user's Secret bears %v, %v", secret.Finalizers, err)
	}
	left := c.must(t, "kubectl", "get", "crd,clusterrole,clusterrolebinding,validatingadmissionpolicy,validatingadmissionpolicybinding,mutatingadmissionpolicy,mutatingadmissionpolicybinding,flowschema", "-o", "name")
	for line := range strings.Lines(left) {
		if strings.Contains(line, "payops") || strings.Contains(line, operatorName) {
			t.Errorf("left behind: %s", line)
		}
	}
}

// runJobs does for Jobs what a kubelet and the Job controller do, and gives what ends that and counts them.
func runJobs(t *testing.T, c *cluster, namespace string) func() int {
	t.Helper()
	watched, err := c.api.Watch(t.Context(), &batchv1.JobList{}, client.InNamespace(namespace))
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	count := 0
	running.Go(func() {
		for event := range watched.ResultChan() {
			if job, ok := event.Object.(*batchv1.Job); ok && event.Type == watch.Added {
				count++
				runJob(t, c, job)
			}
		}
	})
	return func() int {
		watched.Stop()
		running.Wait()
		return count
	}
}

func runJob(t *testing.T, c *cluster, job *batchv1.Job) {
	t.Helper()
	pod := job.Spec.Template.Spec
	kubeconfig, err := c.ServiceAccount(job.Namespace, pod.ServiceAccountName, t.TempDir())
	if err != nil {
		t.Error(err)
		return
	}
	written, err := exec.Command(binary, append([]string{"--kubeconfig=" + kubeconfig}, pod.Containers[0].Args...)...).CombinedOutput()
	if err != nil {
		t.Errorf("the Job failed: %v\n%s", err, written)
	}
	now := metav1.Now()
	before := job.DeepCopy()
	job.Status.StartTime, job.Status.CompletionTime, job.Status.Succeeded = &now, &now, 1
	for _, kind := range []batchv1.JobConditionType{batchv1.JobSuccessCriteriaMet, batchv1.JobComplete} {
		job.Status.Conditions = append(job.Status.Conditions, batchv1.JobCondition{
			Type: kind, Status: corev1.ConditionTrue, LastProbeTime: now, LastTransitionTime: now, Reason: "CompletionsReached",
		})
	}
	if err := c.api.Status().Patch(t.Context(), job, client.MergeFrom(before)); err != nil {
		t.Error(err)
	}
}

// many is how many sessions an upgrade meets.
const many = 1000

// TestUpgrade stores objects under the definitions of the commit before this one, installs what there is now, and
// starts a manager.
func TestUpgrade(t *testing.T) {
	c := newCluster(t)
	previous := output(t, "bash", "-c", "for file in $(git ls-tree --name-only HEAD^ config/crd/bases/); do echo ---; git show HEAD^:$file; done")
	if _, err := c.Run(previous, "apply", "--server-side", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	c.must(t, append([]string{"kubectl", "wait", "--for=condition=Established", "--timeout=60s"}, definitions...)...)
	c.must(t, "kubectl", "apply", "--server-side", "-k", "config/classes")
	namespace := c.shop(t)
	cluster := gen.ClusterPaymentProvider("everywhere", "omise", &v1alpha1.NamespaceSelector{MatchLabels: map[string]v1alpha1.LabelValue{"team": "shop"}})
	if err := c.api.Create(t.Context(), cluster); err != nil {
		t.Fatal(err)
	}
	closed := closedSessions(t, c, namespace)
	specs := allSpecs(t, c)
	c.must(t, "make", "--no-print-directory", "deploy", "IMG=example/operator:1")
	if !strings.Contains(c.must(t, "kubectl", "get", "deployment", "-n", "payops-system", "-o", "yaml"), "image: example/operator:1") {
		t.Error("the image that was given is not deployed")
	}
	if after := allSpecs(t, c); after != specs {
		t.Errorf("what was stored reads differently under the new definitions:\n%s\nbefore:\n%s", after, specs)
	}
	c.startManager(t, "payops-system")
	await.Reason(t, c.api, gen.Provider(namespace, "omise"), v1alpha1.ReasonAccountReady)
	open := c.session(t, namespace, many)
	await.Reason(t, c.api, open, v1alpha1.ReasonExpired)
	if calls := c.upstreams.Calls(); len(calls) != 1 || calls[0].ID != open.Spec.SessionID {
		t.Errorf("%d calls, want one, for the new session: %v", len(calls), calls)
	}
	list := &v1alpha1.PaymentSessionList{}
	if err := c.api.List(t.Context(), list, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	for i := range list.Items {
		if session := &list.Items[i]; session.Name != open.Name && session.ResourceVersion != closed[session.Name] {
			t.Errorf("%s was written: %v", session.Name, session.Status.Conditions)
		}
	}
	t.Logf("%d closed sessions: %d calls and 0 writes after the upgrade", len(closed), len(c.upstreams.Calls())-1)
}

// closedSessions makes sessions that are finished, and gives their versions.
func closedSessions(t *testing.T, c *cluster, namespace string) map[string]string {
	t.Helper()
	versions := map[string]string{}
	now := metav1.Now().Rfc3339Copy()
	for number := range many {
		session := gen.Session(namespace, fmt.Sprintf("closed-%d", number), "omise", gen.ID("omise", number))
		if err := c.api.Create(t.Context(), session); err != nil {
			t.Fatal(err)
		}
		before := session.DeepCopy()
		session.Status = gen.ExpiredStatus(now)
		if err := c.api.Status().Patch(t.Context(), session, client.MergeFrom(before)); err != nil {
			t.Fatal(err)
		}
		versions[session.Name] = session.ResourceVersion
	}
	return versions
}

// allSpecs is what all objects of the four kinds say, as text.
func allSpecs(t *testing.T, c *cluster) string {
	t.Helper()
	var specs []string
	for _, list := range []client.ObjectList{&v1alpha1.PaymentSessionList{}, &v1alpha1.PaymentProviderList{}, &v1alpha1.ClusterPaymentProviderList{}, &v1alpha1.PaymentProviderClassList{}} {
		if err := c.api.List(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		list.SetResourceVersion("")
		if err := apimeta.EachListItem(list, func(item runtime.Object) error {
			object, err := apimeta.Accessor(item)
			// Who wrote it last, and when, may differ.
			object.SetManagedFields(nil)
			object.SetResourceVersion("")
			return err
		}); err != nil {
			t.Fatal(err)
		}
		written, err := yaml.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		specs = append(specs, string(written))
	}
	return strings.Join(specs, "---\n")
}
