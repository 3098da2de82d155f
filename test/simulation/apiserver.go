// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"time"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/crd"
)

// apiServer is an API server in memory, as far as a controller can see one: resourceVersions, optimistic locking,
// generations, status subresources, finalizers, deletion timestamps, merge patches, preconditions, and a log of
// changes for watches. TestBehaviours runs the same checks against it and against a real API server.
type apiServer struct {
	scheme *runtime.Scheme

	mu      sync.Mutex
	version int64
	uids    int
	objects map[objectKey]client.Object
	// changes holds every change, in order. A watch is a position in it.
	changes []change
	// changed is closed and replaced with each change.
	changed chan struct{}
	// observe is called with each change, while the server is locked.
	observe func(change)
	// admit changes or refuses an object that is created (before is nil) or updated.
	admit []func(before, after client.Object) error
}

// objectKey names an object.
type objectKey struct {
	kind string
	types.NamespacedName
}

// change is one change of one object. after is nil for a removal, whose last version is before; before is nil for a
// creation. was is the version before the change in every case.
type change struct {
	kind               string
	before, after, was client.Object
}

func newAPIServer(scheme *runtime.Scheme) *apiServer {
	return &apiServer{scheme: scheme, objects: map[objectKey]client.Object{}, changed: make(chan struct{})}
}

// kindOf returns the kind of a typed object, or of one that has only metadata.
func (s *apiServer) kindOf(object runtime.Object) schema.GroupVersionKind {
	gvk, err := apiutil.GVKForObject(object, s.scheme)
	if err != nil {
		panic(err)
	}
	return gvk
}

func resource(kind string) schema.GroupResource { return schema.GroupResource{Resource: kind} }

func copyOf(object client.Object) client.Object { return object.DeepCopyObject().(client.Object) }

// get copies an object into another one, which may have only metadata.
func (s *apiServer) get(name types.NamespacedName, into client.Object) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	kind := s.kindOf(into).Kind
	found := s.objects[objectKey{kind, name}]
	if found == nil {
		return apierrors.NewNotFound(resource(kind), name.Name)
	}
	assign(found, into)
	return nil
}

// assign copies one object into another of the same type, or its metadata into one that has only metadata.
func assign(from, into client.Object) {
	if partial, ok := into.(*metav1.PartialObjectMetadata); ok {
		gvk := partial.GroupVersionKind()
		metadata, err := runtime.DefaultUnstructuredConverter.ToUnstructured(from)
		if err != nil {
			panic(err)
		}
		*partial = metav1.PartialObjectMetadata{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(metadata, partial); err != nil {
			panic(err)
		}
		partial.SetGroupVersionKind(gvk)
		return
	}
	reflect.ValueOf(into).Elem().Set(reflect.ValueOf(copyOf(from)).Elem())
}

// list returns copies of the objects of a kind, sorted by name.
func (s *apiServer) list(kind, namespace string) []client.Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []client.Object
	for key, object := range s.objects {
		if key.kind == kind && (namespace == "" || key.Namespace == namespace) {
			found = append(found, copyOf(object))
		}
	}
	sortByName(found)
	return found
}

func sortByName(objects []client.Object) {
	slices.SortFunc(objects, func(a, b client.Object) int {
		return cmp.Or(cmp.Compare(a.GetNamespace(), b.GetNamespace()), cmp.Compare(a.GetName(), b.GetName()))
	})
}

// create creates an object, and completes the one that is given.
func (s *apiServer) create(object client.Object) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	kind := s.kindOf(object).Kind
	key := objectKey{kind, client.ObjectKeyFromObject(object)}
	if s.objects[key] != nil {
		return apierrors.NewAlreadyExists(resource(kind), key.Name)
	}
	if err := s.refusesNew(key); err != nil {
		return err
	}
	created := copyOf(object)
	s.uids++
	created.SetUID(types.UID(fmt.Sprintf("%s-%d", kind, s.uids)))
	created.SetCreationTimestamp(now())
	created.SetGeneration(1)
	created.SetDeletionTimestamp(nil)
	setDefaults(created)
	for _, admit := range s.admit {
		if err := admit(nil, created); err != nil {
			return err
		}
	}
	s.store(key, nil, created)
	assign(created, object)
	return nil
}

// refusesNew refuses new objects in a namespace that is being deleted, and of a kind whose CRD is.
func (s *apiServer) refusesNew(key objectKey) error {
	if key.kind == v1alpha1.KindPaymentSession {
		definition := s.objects[objectKey{crd.GroupVersionKind.Kind, client.ObjectKeyFromObject(crdOf(key.kind))}]
		if definition == nil || isDeleting(definition) {
			return apierrors.NewNotFound(resource(key.kind), key.Name)
		}
	}
	if key.Namespace == "" {
		return nil
	}
	namespace := s.objects[objectKey{"Namespace", types.NamespacedName{Name: key.Namespace}}]
	if namespace == nil {
		return apierrors.NewNotFound(resource("Namespace"), key.Namespace)
	}
	if !namespace.GetDeletionTimestamp().IsZero() {
		refusal := apierrors.NewForbidden(resource(key.kind), key.Name,
			fmt.Errorf("namespace %s is being terminated", key.Namespace))
		refusal.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: "NamespaceTerminating"}}
		return refusal
	}
	return nil
}

// store stores an object in a new version, or removes it if it is to be gone.
func (s *apiServer) store(key objectKey, before, after client.Object) {
	s.version++
	after.SetResourceVersion(strconv.FormatInt(s.version, 10))
	if !after.GetDeletionTimestamp().IsZero() && len(after.GetFinalizers()) == 0 {
		delete(s.objects, key)
		s.changes = append(s.changes, change{kind: key.kind, before: after, was: before})
	} else {
		s.objects[key] = after
		s.changes = append(s.changes, change{kind: key.kind, before: before, after: after, was: before})
	}
	if s.observe != nil {
		s.observe(s.changes[len(s.changes)-1])
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// patch applies a patch to an object or to its status, and updates the one that is given.
func (s *apiServer) patch(object client.Object, patch client.Patch, status bool) error {
	data, err := patch.Data(object)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	kind := s.kindOf(object).Kind
	key := objectKey{kind, client.ObjectKeyFromObject(object)}
	before := s.objects[key]
	if before == nil {
		return apierrors.NewNotFound(resource(kind), key.Name)
	}
	after, err := s.patched(before, patch.Type(), data)
	if err != nil {
		return err
	}
	return s.replace(key, before, after, status, object)
}

// patched returns an object with a patch applied.
func (s *apiServer) patched(before client.Object, kind types.PatchType, data []byte) (client.Object, error) {
	text, err := json.Marshal(before)
	if err != nil {
		return nil, err
	}
	if kind == types.JSONPatchType {
		operations, err := jsonpatch.DecodePatch(data)
		if err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
		text, err = operations.Apply(text)
		if err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
	} else if text, err = jsonpatch.MergePatch(text, data); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	after := reflect.New(reflect.TypeOf(before).Elem()).Interface().(client.Object)
	if err := json.Unmarshal(text, after); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return after, nil
}

// update replaces an object, as kubectl replace does.
func (s *apiServer) update(object client.Object) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	kind := s.kindOf(object).Kind
	key := objectKey{kind, client.ObjectKeyFromObject(object)}
	before := s.objects[key]
	if before == nil {
		return apierrors.NewNotFound(resource(kind), key.Name)
	}
	after := copyOf(object)
	if after.GetResourceVersion() == "" {
		after.SetResourceVersion(before.GetResourceVersion())
	}
	return s.replace(key, before, after, false, object)
}

// replace stores the new version of an object if nobody has changed it, and nothing if nothing has changed.
func (s *apiServer) replace(key objectKey, before, after client.Object, status bool, given client.Object) error {
	if after.GetResourceVersion() != before.GetResourceVersion() {
		return apierrors.NewConflict(resource(key.kind), key.Name, errors.New("the object has been modified"))
	}
	keepSystemFields(before, after)
	specChanged := false
	if status {
		kept := copyOf(before)
		setStatus(kept, after)
		after = kept
	} else {
		if hasStatusSubresource(after) {
			setStatus(after, before)
		}
		setDefaults(after)
		if err := refusesFinalizers(key, before, after); err != nil {
			return err
		}
		for _, admit := range s.admit {
			if err := admit(before, after); err != nil {
				return err
			}
		}
		specChanged = !reflect.DeepEqual(specOf(before), specOf(after))
	}
	if specChanged {
		after.SetGeneration(before.GetGeneration() + 1)
	}
	if !reflect.DeepEqual(before, after) {
		s.store(key, before, after)
	}
	assign(after, given)
	return nil
}

// keepSystemFields keeps what no client can change.
func keepSystemFields(before, after client.Object) {
	after.SetUID(before.GetUID())
	after.SetCreationTimestamp(before.GetCreationTimestamp())
	after.SetDeletionTimestamp(before.GetDeletionTimestamp())
	after.SetGeneration(before.GetGeneration())
}

// refusesFinalizers refuses new finalizers on an object that is being deleted.
func refusesFinalizers(key objectKey, before, after client.Object) error {
	if before.GetDeletionTimestamp().IsZero() {
		return nil
	}
	for _, finalizer := range after.GetFinalizers() {
		if !slices.Contains(before.GetFinalizers(), finalizer) {
			return apierrors.NewInvalid(schema.GroupKind{Kind: key.kind}, key.Name, nil)
		}
	}
	return nil
}

// setUID replaces the UID of an object.
func (s *apiServer) setUID(object client.Object, uid types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	object.SetUID(uid)
	s.objects[objectKey{s.kindOf(object).Kind, client.ObjectKeyFromObject(object)}].SetUID(uid)
}

// delete deletes an object, at once if it has no finalizer.
func (s *apiServer) delete(object client.Object, options client.DeleteOptions) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	kind := s.kindOf(object).Kind
	key := objectKey{kind, client.ObjectKeyFromObject(object)}
	before := s.objects[key]
	if before == nil {
		return apierrors.NewNotFound(resource(kind), key.Name)
	}
	if is := options.Preconditions; is != nil {
		sameUID := is.UID == nil || *is.UID == before.GetUID()
		sameVersion := is.ResourceVersion == nil || *is.ResourceVersion == before.GetResourceVersion()
		if !sameUID || !sameVersion {
			return apierrors.NewConflict(resource(kind), key.Name, errors.New("the precondition is not met"))
		}
	}
	if !before.GetDeletionTimestamp().IsZero() {
		return nil
	}
	after := copyOf(before)
	deletedAt := now()
	after.SetDeletionTimestamp(&deletedAt)
	if len(after.GetFinalizers()) > 0 || kind == "Namespace" {
		after.SetGeneration(before.GetGeneration() + 1)
	}
	if kind == "Namespace" && len(after.GetFinalizers()) == 0 {
		// The namespace controller removes it when it is empty.
		after.SetFinalizers([]string{namespaceFinalizer})
	}
	s.store(key, before, after)
	return nil
}

// namespaceFinalizer stands for spec.finalizers of a namespace, which the namespace controller removes.
const namespaceFinalizer = "kubernetes"

// now returns the time as the API server writes it: in whole seconds.
func now() metav1.Time { return metav1.NewTime(time.Now().Truncate(time.Second)) }

// field returns a field of an object by its Go name; the zero Value if the object has none.
func field(object client.Object, name string) reflect.Value {
	return reflect.ValueOf(object).Elem().FieldByName(name)
}

func specOf(object client.Object) any {
	if spec := field(object, "Spec"); spec.IsValid() {
		return spec.Interface()
	}
	return nil
}

func hasStatusSubresource(object client.Object) bool { return field(object, "Status").IsValid() }

// setStatus copies the status of one object into another.
func setStatus(into, from client.Object) {
	if status := field(into, "Status"); status.IsValid() {
		status.Set(field(copyOf(from), "Status"))
	}
}

// crdOf returns the CustomResourceDefinition of a kind.
func crdOf(kind string) client.Object {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(crd.GroupVersionKind)
	object.SetName(v1alpha1.CRDName(kind))
	return object
}
