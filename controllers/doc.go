// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package controllers connects the API server to the accounts: it reads objects, lets internal/session decide, hands calls
// to internal/account and writes statuses. What a status says is decided elsewhere; how it is written is in conditions.go
// alone.
package controllers
