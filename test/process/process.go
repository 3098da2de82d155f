// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package process reads the memory and processor time of a running process from the kernel.
package process

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// PeakMemory returns the most memory that a process has used so far, in bytes.
func PeakMemory(pid int) (int64, error) { return memory(pid, "VmHWM:") }

// Memory returns the memory that a process uses now, in bytes.
func Memory(pid int) (int64, error) { return memory(pid, "VmRSS:") }

func memory(pid int, field string) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, field); ok {
			kilobytes, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kilobytes << 10, err
		}
	}
	return 0, fmt.Errorf("the kernel does not report %s of the process", strings.TrimSuffix(field, ":"))
}

// ProcessorTime returns the processor time that a process has used so far.
func ProcessorTime(pid int) (time.Duration, error) {
	// proc(5) counts clock ticks, which are hundredths of a second on Linux.
	const tick = time.Second / 100
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name of the command is in parentheses and may contain spaces. utime and stime are the 12th and 13th field
	// after it.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * tick, err
}
