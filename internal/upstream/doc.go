// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package upstream is the engine for all providers. It compiles a PaymentProviderClass into a Definition, which
// builds requests, interprets replies and maps states. It has no code for any one provider.
package upstream
