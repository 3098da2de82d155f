// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const printed = "\n\x1b[1m# First\x1b[0m\n$ kubectl get sessions\nNAME   AGE\none    3m7s\ntwo    11s\n\n\x1b[1m# Second\x1b[0m\n" +
	"$ date\n2031-07-05T04:03:02Z\n  \x1b[32mok\x1b[0m    <one>\n\n\x1b[1m# Third\x1b[0m\nexport KUBECONFIG=/home/somebody/kubeconfig\n"

func TestARecordingShowsTheStepsOfItsScript(t *testing.T) {
	t.Parallel()
	screens, err := film(printed, []scene{{steps: []string{"First"}, poster: true}, {steps: []string{"Second"}}})
	if err != nil {
		t.Fatal(err)
	}
	drawn := string(draw(screens))
	for _, want := range []string{"# First", "kubectl get sessions", ">one    5s<", ">two    5s<", ">2026-01-01T00:00:00Z<", `class="g"`, "&lt;one&gt;"} {
		if !strings.Contains(drawn, want) {
			t.Errorf("the recording lacks %q:\n%s", want, drawn)
		}
	}
	for decoder := xml.NewDecoder(strings.NewReader(drawn)); ; {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestALimitCutsLongOutputs(t *testing.T) {
	t.Parallel()
	screens, err := film(printed, []scene{{steps: []string{"First"}, limit: 1}})
	if err != nil {
		t.Fatal(err)
	}
	if drawn := string(draw(screens)); strings.Contains(drawn, "two") || !strings.Contains(drawn, "… 2 more lines") {
		t.Errorf("the output is not cut after one line:\n%s", drawn)
	}
}

func TestARecordingOfTheSameOutputIsTheSame(t *testing.T) {
	t.Parallel()
	scenes := []scene{{steps: []string{"First", "Second"}}}
	first, err := film(printed, scenes)
	if err != nil {
		t.Fatal(err)
	}
	later := strings.NewReplacer("3m7s", "4m", "11s", "1h2m", "2031-07-05T04:03:02Z", "2032-01-02T03:04:05.678Z").Replace(printed)
	second, err := film(later, scenes)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(draw(first), draw(second)) {
		t.Error("ages or times are in the recording")
	}
}

func TestARecordingThatCannotBeShownIsRejected(t *testing.T) {
	t.Parallel()
	for step, want := range map[string]string{"Third": "names the machine", "Fourth": "has no step"} {
		if _, err := film(printed, []scene{{steps: []string{step}}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("step %s: got %v, want an error that says %q", step, err, want)
		}
	}
}

func TestAFailedDemoLeavesTheRecordingAlone(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "demo.svg")
	if err := record(out, []string{"false"}); err == nil {
		t.Error("a failed demo is no error")
	}
	if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is a recording of a failed demo: %v", err)
	}
}
