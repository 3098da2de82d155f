// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package controllers connects the API server to the accounts: it reads objects, asks internal/session for a
// decision, submits requests to internal/account and writes statuses. The decision says what a status contains;
// conditions.go alone writes it.
package controllers
