// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package upstream is the engine that every provider runs on: it compiles a PaymentProviderClass and then builds requests,
// reads replies and maps states with it. It holds no code for any one provider.
package upstream
