// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"time"

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
	namespace := &namespaceObject{}
	if w.server.get(types.NamespacedName{Name: name}, namespace) != nil || !namespace.DeletionTimestamp.IsZero() {
		return
	}
	w.sayf("a user deletes namespace %s", name)
	w.must(w.server.delete(namespace, client.DeleteOptions{}))
	order := w.chaos.permutation(len(contents))
	w.background.Go(func() {
		for w.alive() {
			left := 0
			for _, kind := range order {
				for _, object := range w.server.list(contents[kind], name) {
					left++
					if object.GetDeletionTimestamp().IsZero() && sleep(w.ctx, w.chaos.between(0, 50*time.Millisecond)) {
						_ = w.server.delete(object, client.DeleteOptions{})
					}
				}
			}
			if left == 0 {
				w.server.removeNamespace(name)
				return
			}
			if !sleep(w.ctx, w.chaos.between(time.Second, 8*time.Second)) {
				return
			}
		}
	})
}

// removeNamespace removes an empty namespace.
func (s *apiServer) removeNamespace(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := objectKey{"Namespace", types.NamespacedName{Name: name}}
	if before := s.objects[key]; before != nil {
		after := copyOf(before)
		after.SetFinalizers(nil)
		s.store(key, before, after)
	}
}
