// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package config embeds the manifests that the tools need offline.
package config

import "embed"

// CRDs holds the CustomResourceDefinitions, as crd/bases/GROUP_PLURAL.yaml.
//
//go:embed crd/bases/*.yaml
var CRDs embed.FS
