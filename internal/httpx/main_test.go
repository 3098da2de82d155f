// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package httpx

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain fails if a test leaves a goroutine running.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
