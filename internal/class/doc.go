// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package class proves a PaymentProviderClass before it meets money: it checks the file, tests it with the examples
// beside it, and tries it at a sandbox.
package class
