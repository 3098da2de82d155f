// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"debug/elf"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/payops-dev/payment-session-operator/test/gen"
)

// TestTheImageBuilds does what the Dockerfile does, without a container engine: from what it copies and nothing else,
// for both platforms, with the module proxy alone.
func TestTheImageBuilds(t *testing.T) {
	dockerfile, err := os.ReadFile(filepath.Join(gen.Root(), "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	context := t.TempDir()
	copied := 0
	for _, line := range regexp.MustCompile(`(?m)^COPY ([^-].*)$`).FindAllStringSubmatch(string(dockerfile), -1) {
		paths := strings.Fields(line[1])
		for _, path := range paths[:len(paths)-1] {
			output(t, "cp", "-r", path, filepath.Join(context, path))
			copied++
		}
	}
	if copied < 5 {
		t.Fatalf("the Dockerfile copies %d things", copied)
	}
	for platform, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		manager := filepath.Join(context, platform)
		if written, err := runIn(t, []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + platform}, "go", "-C", context, "build", "-trimpath", "-o", manager, "."); err != nil {
			t.Fatalf("%s: %v\n%s", platform, err, written)
		}
		built, err := elf.Open(manager)
		if err != nil {
			t.Fatal(err)
		}
		defer built.Close()
		if built.Machine != machine {
			t.Errorf("the manager for %s is one for %s", platform, built.Machine)
		}
		if libraries, err := built.ImportedLibraries(); err != nil || len(libraries) > 0 {
			t.Errorf("the manager for %s needs %v, which the image does not have, %v", platform, libraries, err)
		}
	}
}
