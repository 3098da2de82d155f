// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package httpx

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain fails where a test leaves a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
