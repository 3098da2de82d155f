// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"fmt"
	"os/exec"
	"slices"
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

// crds are the CRDs of the five kinds.
var crds = []string{
	"crd/paymentsessions.payments.payops.dev", "crd/paymentsweeps.payments.payops.dev",
	"crd/paymentproviders.payments.payops.dev",
	"crd/clusterpaymentproviders.payments.payops.dev", "crd/paymentproviderclasses.payments.payops.dev",
}

// TestEachWayToInstall installs the operator in each way, each on a fresh control plane. A manager with the installed
// permissions then expires sessions and completes the deletion of a namespace. TestUpgrade tests make deploy.
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

// works checks that the operator expires a session, and an active one when its namespace is deleted.
func works(t *testing.T, c *cluster) {
	t.Helper()
	namespace := c.shop(t)
	await.Reason(t, c.api, c.session(t, namespace, 1), v1alpha1.ReasonExpired)
	await.Reason(t, c.api, c.session(t, namespace, 2, gen.Active), v1alpha1.ReasonObserved)
	c.must(t, "kubectl", "delete", "namespace", namespace, "--timeout=120s")
	for _, object := range c.upstreams.Objects() {
		if object.State != simulator.Expired {
			t.Errorf("the namespace of %s is deleted, but the session is %s at the provider", object.ID, object.State)
		}
	}
}

// clusterProvidersOnly sets providers.clusterOnly, which removes the permission to read Secrets in other namespaces.
// The status of a PaymentProvider then reports that it cannot read its Secret. It blocks no deletion, and a
// ClusterPaymentProvider works.
func clusterProvidersOnly(t *testing.T, c *cluster) {
	t.Helper()
	upgrade := func(value string) {
		c.must(t, tool("helm", "upgrade", "pay", "dist/chart",
			"--namespace=payments", "--set=providers.clusterOnly="+value)...)
	}
	upgrade("true")
	namespace := c.shop(t)
	await.Reason(t, c.api, gen.Provider(namespace, "omise"), v1alpha1.ReasonCredentialsMissing)
	everyone := gen.ClusterPaymentProvider("everyone", "omise", &v1alpha1.NamespaceSelector{},
		gen.Endpoint(c.url+"/omise"))
	c.create(t, gen.Secret("payments", "omise"), everyone)
	await.Reason(t, c.api, c.session(t, namespace, 3, gen.ClusterProvider("everyone")), v1alpha1.ReasonExpired)
	c.must(t, "kubectl", "delete", "namespace", namespace, "--timeout=120s")
	c.must(t, "kubectl", "delete", "clusterpaymentprovider", "everyone", "--timeout=60s")
	upgrade("false")
}

// applyTwice applies everything twice, as the README says. The first apply creates the CRDs but cannot create the
// classes, because kubectl does not know their kind yet.
func applyTwice(t *testing.T, c *cluster, arguments ...string) {
	t.Helper()
	apply := append([]string{"kubectl", "apply", "--server-side"}, arguments...)
	if written, err := c.run(t, apply...); err == nil || !strings.Contains(err.Error(), "PaymentProviderClass") {
		t.Errorf("the first apply returned %v, want an error about PaymentProviderClass\n%s", err, written)
	}
	c.must(t, append([]string{"kubectl", "wait", "--for=condition=Established", "--timeout=60s"}, crds...)...)
	c.must(t, apply...)
}

// helmUninstall uninstalls the chart while no operator runs. The chart's hook releases all finalizers. The control
// plane has no kubelet, so the test runs the hook's Job itself, with the ServiceAccount of the Job.
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
		t.Errorf("%d Jobs were run, want only the hook", count)
	}
	if calls := c.upstreams.Calls()[before:]; len(calls) > 0 {
		t.Errorf("the uninstall called the provider: %v", calls)
	}
	secret := gen.Secret(namespace, "omise")
	err := c.api.Get(t.Context(), client.ObjectKeyFromObject(secret), secret)
	if err != nil || len(secret.Finalizers) > 0 {
		t.Errorf("the user's Secret has the finalizers %v (error %v)", secret.Finalizers, err)
	}
	const kinds = "crd,clusterrole,clusterrolebinding,flowschema,validatingadmissionpolicy," +
		"validatingadmissionpolicybinding,mutatingadmissionpolicy,mutatingadmissionpolicybinding"
	left := c.must(t, "kubectl", "get", kinds, "-o", "name")
	for line := range strings.Lines(left) {
		if strings.Contains(line, "payops") || strings.Contains(line, operatorName) {
			t.Errorf("left behind: %s", line)
		}
	}
}

// runJobs runs the Jobs of a namespace in place of the Job controller and a kubelet. The returned function stops that
// and returns the number of Jobs.
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

// runJob runs the command of a Job and marks the Job as complete.
func runJob(t *testing.T, c *cluster, job *batchv1.Job) {
	t.Helper()
	pod := job.Spec.Template.Spec
	kubeconfig, err := c.ServiceAccount(job.Namespace, pod.ServiceAccountName, t.TempDir())
	if err != nil {
		t.Error(err)
		return
	}
	arguments := append([]string{"--kubeconfig=" + kubeconfig}, pod.Containers[0].Args...)
	if written, err := exec.Command(binary, arguments...).CombinedOutput(); err != nil {
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

// many is the number of closed sessions before an upgrade.
const many = 1000

// TestUpgrade creates objects with the CRDs and the classes of the previous commit, installs the current version, and
// starts a manager. All objects keep their specs, and no closed session causes a call or a write.
func TestUpgrade(t *testing.T) {
	c := newCluster(t)
	previous := func(folder string) string {
		const show = "for file in $(git ls-tree --name-only HEAD^ %s/ | grep -vE 'examples|kustomization|catalogue'); do " +
			"echo ---; git show HEAD^:$file; done"
		return output(t, "bash", "-c", fmt.Sprintf(show, folder))
	}
	for _, folder := range []string{"config/crd/bases", "config/classes"} {
		if _, err := c.Run(previous(folder), "apply", "--server-side", "-f", "-"); err != nil {
			t.Fatal(err)
		}
		c.must(t, "kubectl", "wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
	}
	namespace := c.shop(t)
	allowed := &v1alpha1.NamespaceSelector{MatchLabels: map[string]v1alpha1.LabelValue{"team": "shop"}}
	own := gen.Class("omise")
	own.Name = "of-the-user"
	c.create(t, gen.ClusterPaymentProvider("everywhere", "omise", allowed), own)
	closed := closedSessions(t, c, namespace)
	specs := allSpecs(t, c)
	c.must(t, "make", "--no-print-directory", "deploy", "IMG=example/operator:1")
	deployments := c.must(t, "kubectl", "get", "deployment", "-n", "payops-system", "-o", "yaml")
	if !strings.Contains(deployments, "image: example/operator:1") {
		t.Error("the Deployment does not have the image of make deploy")
	}
	if after := allSpecs(t, c); after != specs {
		t.Errorf("the specs differ with the new CRDs:\n%s\nbefore:\n%s", after, specs)
	}
	c.startManager(t, "payops-system")
	await.Reason(t, c.api, gen.Provider(namespace, "omise"), v1alpha1.ReasonAccountReady)
	open := c.session(t, namespace, many)
	await.Reason(t, c.api, open, v1alpha1.ReasonExpired)
	if calls := c.upstreams.Calls(); len(calls) != 1 || calls[0].ID != open.Spec.SessionID {
		t.Errorf("%d calls, want only the one for the new session: %v", len(calls), calls)
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

// closedSessions creates closed sessions, and returns their resource versions.
func closedSessions(t *testing.T, c *cluster, namespace string) map[string]string {
	t.Helper()
	versions := map[string]string{}
	now := metav1.Now().Rfc3339Copy()
	for number := range many {
		session := gen.Session(namespace, fmt.Sprintf("closed-%d", number), "omise", gen.ID("omise", number))
		c.create(t, session)
		before := session.DeepCopy()
		session.Status = gen.ExpiredStatus(now)
		if err := c.api.Status().Patch(t.Context(), session, client.MergeFrom(before)); err != nil {
			t.Fatal(err)
		}
		versions[session.Name] = session.ResourceVersion
	}
	return versions
}

// allSpecs returns all objects of the kinds that the previous version has, as text.
func allSpecs(t *testing.T, c *cluster) string {
	t.Helper()
	var specs []string
	for _, list := range []client.ObjectList{
		&v1alpha1.PaymentSessionList{}, &v1alpha1.PaymentProviderList{},
		&v1alpha1.ClusterPaymentProviderList{}, &v1alpha1.PaymentProviderClassList{},
	} {
		if err := c.api.List(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		list.SetResourceVersion("")
		if classes, ok := list.(*v1alpha1.PaymentProviderClassList); ok {
			// An upgrade changes the shipped ones.
			classes.Items = slices.DeleteFunc(classes.Items, func(class v1alpha1.PaymentProviderClass) bool {
				return slices.Contains(gen.Providers, class.Name)
			})
		}
		if err := apimeta.EachListItem(list, func(item runtime.Object) error {
			object, err := apimeta.Accessor(item)
			// The last writer may differ.
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
