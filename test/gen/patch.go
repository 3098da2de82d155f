// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package gen

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// MergePatch makes a patch for client.Patch from a JSON merge patch.
func MergePatch(json string) client.Patch { return client.RawPatch(types.MergePatchType, []byte(json)) }

// Touch makes a patch that changes nothing but a label, so that the object is reconciled. Every patch sets another
// value.
func Touch() client.Patch {
	return MergePatch(fmt.Sprintf(`{"metadata":{"labels":{"touched":"%d"}}}`, time.Now().UnixNano()))
}

// Expire makes a patch that sets the desired state expired.
func Expire() client.Patch { return MergePatch(`{"spec":{"desiredState":"expired"}}`) }
