package contestant

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Resident sums the resident memory of a process and all its descendants, in
// bytes. Pages that they share are counted for each.
func Resident(pid int) (int64, error) {
	return sum(pid, func(pid int) (int64, error) { return status(pid, "VmRSS") })
}

// sum adds something up over a process and all its descendants.
func sum(pid int, of func(pid int) (int64, error)) (int64, error) {
	total, err := of(pid)
	if err != nil {
		return 0, err
	}
	stats, err := filepath.Glob("/proc/[0-9]*/status")
	if err != nil {
		return 0, err
	}
	family := []int64{int64(pid)}
	for grown := true; grown; {
		grown = false
		for _, path := range stats {
			child, _ := strconv.Atoi(strings.Split(path, "/")[2]) // the pattern says it is one
			parent, err := status(child, "PPid")
			if err != nil || slices.Contains(family, int64(child)) || !slices.Contains(family, parent) {
				continue // it may have ended meanwhile
			}
			n, err := of(child)
			if err != nil {
				continue
			}
			family, grown = append(family, int64(child)), true
			total += n
		}
	}
	return total, nil
}

// status reads one number of /proc/PID/status; kB become bytes.
func status(pid int, key string) (int64, error) {
	return field(fmt.Sprintf("/proc/%d/status", pid), key)
}

func field(path, key string) (int64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		if name != key {
			continue
		}
		value, kB := strings.CutSuffix(strings.TrimSpace(value), " kB")
		n, err := strconv.ParseInt(value, 10, 64)
		if kB {
			n *= 1024
		}
		return n, err
	}
	return 0, fmt.Errorf("%s has no %s", path, key)
}

// Proportional sums the memory of a process and all its descendants, in bytes,
// with pages that several processes share divided among them.
func Proportional(pid int) (int64, error) {
	return sum(pid, func(pid int) (int64, error) { return field(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss") })
}
