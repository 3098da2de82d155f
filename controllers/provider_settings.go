// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"crypto/sha256"
	"time"

	"golang.org/x/time/rate"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/account"
)

// settings are everything about a provider object that its account and its sessions depend on. They are one
// comparable value, and != decides what has to change: a field of the spec that is added here reaches everything, and
// one that is forgotten fails TestEveryProviderFieldIsInTheSettings.
type settings struct {
	access       access
	limits       account.Limits
	pollInterval time.Duration
	// allowedNamespaces is a label selector; allowsNone is true where no namespace is allowed, which no selector can
	// say.
	allowedNamespaces string
	allowsNone        bool
	ownership         v1alpha1.Ownership
	sweepPolicy       v1alpha1.SweepPolicy
}

// access is what the account's calls depend on. Another access means another HTTP client, and that a retry might now
// succeed.
type access struct {
	// endpoint identifies where calls go and how replies are read: the class, its generation and the base URL.
	endpoint string
	// credentials is a digest of the credentials.
	credentials [sha256.Size]byte
	connections int
	timeout     time.Duration
}

// settingsOf returns the settings that follow from the spec alone. connect adds the endpoint and the credentials,
// which need the class and the Secret.
func settingsOf(provider v1alpha1.GenericProvider) settings {
	spec := provider.ProviderSpec()
	limits := account.Limits{
		Rate:        rate.Every(duration(spec.RateLimit.Per, time.Second) / time.Duration(max(spec.RateLimit.Requests, 1))),
		Burst:       int(max(spec.RateLimit.Burst, 1)),
		Concurrency: int(max(spec.MaxConcurrentRequests, 1)),
	}
	made := settings{
		access:       access{connections: limits.Concurrency, timeout: duration(spec.Timeout, 10*time.Second)},
		limits:       limits,
		pollInterval: duration(spec.PollInterval, 10*time.Minute),
		ownership:    spec.Ownership,
		sweepPolicy:  spec.SweepPolicy,
	}
	if selector := allowedNamespaces(provider); selector == nil {
		made.allowsNone = true
	} else {
		made.allowedNamespaces = selector.String()
	}
	return made
}

// allowedNamespaces returns the selector of a ClusterPaymentProvider; nil if it allows no namespace. A selector that
// cannot be parsed allows none.
func allowedNamespaces(provider v1alpha1.GenericProvider) labels.Selector {
	cluster, ok := provider.(*v1alpha1.ClusterPaymentProvider)
	if !ok || cluster.Spec.AllowedNamespaces == nil {
		return nil
	}
	selector, err := metav1.LabelSelectorAsSelector(cluster.Spec.AllowedNamespaces.LabelSelector())
	if err != nil {
		return nil
	}
	return selector
}

func duration(given *metav1.Duration, otherwise time.Duration) time.Duration {
	if given == nil {
		return otherwise
	}
	return given.Duration
}
