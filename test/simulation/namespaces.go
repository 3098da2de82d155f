// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

// contents are the kinds in a namespace. The namespace controller deletes them in any order:
// https://kubernetes.io/docs/tasks/administer-cluster/namespaces/#deleting-a-namespace
var contents = []string{"Secret", v1alpha1.KindPaymentProvider, v1alpha1.KindPaymentSession}

// deleteNamespace deletes a namespace, and its content in a drawn order, as the namespace controller does. It removes
// the namespace when it is empty.
func (w *world) deleteNamespace(name string) {
	namespace := &corev1.Namespace{}
	if w.server.get(types.NamespacedName{Name: name}, namespace) != nil || !namespace.DeletionTimestamp.IsZero() {
		return
	}
	w.sayf("a user deletes namespace %s", name)
	w.must(w.server.delete(namespace, client.DeleteOptions{}))
	contents := contents
	if w.strays != nil {
		contents = append(slices.Clone(contents), v1alpha1.KindPaymentSweep)
	}
	order := w.chaos.permutation(len(contents))
	w.background.Go(func() {
		for w.alive() {
			left := 0
			for _, kind := range order {
				for _, object := range w.server.list(contents[kind], name) {
					left++
					w.touch(object)
					if object.GetDeletionTimestamp().IsZero() && sleep(w.ctx, w.chaos.between(0, 50*time.Millisecond)) {
						_ = w.server.delete(object, client.DeleteOptions{})
					}
				}
			}
			if left == 0 {
				w.server.removeFinalized(namespace)
				return
			}
			if !sleep(w.ctx, w.chaos.between(time.Second, 8*time.Second)) {
				return
			}
		}
	})
}

// removeFinalized removes an object that is being deleted, once nothing holds it.
func (s *apiServer) removeFinalized(object client.Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := objectKey{s.kindOf(object).Kind, client.ObjectKeyFromObject(object)}
	if before := s.objects[key]; before != nil && isDeleting(before) {
		after := copyOf(before)
		after.SetFinalizers(nil)
		s.store(key, before, after)
	}
}
