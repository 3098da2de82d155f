// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// OwnershipAction says what follows for a session that is not its
// namespace's.
//
// +kubebuilder:validation:Enum=Enforce;Warn
type OwnershipAction string

const (
	// OwnershipEnforce never expires such a session. Its condition says
	// NotOwned.
	OwnershipEnforce OwnershipAction = "Enforce"
	// OwnershipWarn creates an Event, and otherwise changes nothing.
	OwnershipWarn OwnershipAction = "Warn"
)

// DefaultSelf is the self expression of a rule that has none: the words that
// an application puts on its sessions as cluster/namespace.
const DefaultSelf Expression = "cluster.name + '/' + namespaceObject.metadata.name"

// Ownership says whose the sessions of an account are, where several
// namespaces or clusters share it. It protects against mistakes, and against
// those who may create PaymentSessions; not against holders of the account's
// key.
//
// +kubebuilder:validation:XValidation:rule="has(self.owner) != (has(self.exclusive) && self.exclusive)",message="set either owner or exclusive: true"
type Ownership struct {
	// owner is a CEL expression that returns, as a string, whose a session is.
	// It uses the variables session, with the fields id, state, status, tags and
	// reference, and body, a reply to the class's observe call. The fields tags
	// and reference come from identity of the class. The session is a
	// namespace's own if the result equals self. It is nobody's if the
	// expression fails or returns something else than a string, and if the
	// result is empty or has an empty part between slashes.
	//
	// +optional
	Owner Expression `json:"owner,omitempty"`

	// self is a CEL expression that returns a namespace's own word. It uses the
	// variables namespaceObject, with metadata of the Namespace (name, labels,
	// annotations), and cluster, with the field name (the flag --cluster-name of
	// the operator). Defaults to
	// cluster.name + '/' + namespaceObject.metadata.name.
	//
	// +optional
	Self Expression `json:"self,omitempty"`

	// action says what follows for a session that is not its namespace's.
	// Enforce, the default, never expires it. Warn creates an Event, and
	// otherwise changes nothing: it is for trying a rule before it is enforced.
	//
	// +kubebuilder:default=Enforce
	// +optional
	Action OwnershipAction `json:"action,omitempty"`

	// exclusive says, in place of owner, that every session of the account is
	// this namespace's. Only for a PaymentProvider. Defaults to false.
	//
	// +optional
	Exclusive bool `json:"exclusive,omitempty"`
}
