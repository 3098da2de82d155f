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

// TestTheImageBuilds builds the manager as the Dockerfile does, without a container engine: for both platforms, and
// only from the files that the Dockerfile copies.
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
		t.Fatalf("the Dockerfile copies %d paths, want at least 5", copied)
	}
	for platform, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		manager := filepath.Join(context, platform)
		environment := []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + platform}
		written, err := runIn(t, environment, "go", "-C", context, "build", "-trimpath", "-o", manager, ".")
		if err != nil {
			t.Fatalf("%s: %v\n%s", platform, err, written)
		}
		built, err := elf.Open(manager)
		if err != nil {
			t.Fatal(err)
		}
		defer built.Close()
		if built.Machine != machine {
			t.Errorf("the manager for %s is built for %s", platform, built.Machine)
		}
		if libraries, err := built.ImportedLibraries(); err != nil || len(libraries) > 0 {
			t.Errorf("the manager for %s needs the libraries %v, which the image does not contain (error %v)",
				platform, libraries, err)
		}
	}
}
