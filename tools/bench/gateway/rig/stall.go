package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

type stallOrder struct {
	target
	Pid int `json:"pid"`
	// Connections that stall so at once. Default 1.
	Connections int `json:"connections"`
}

type stallResult struct {
	// What the upstream could send, and how the gateway's resident memory grew, in MB of 10^6 bytes.
	SentMb   float64 `json:"sentMb"`
	GrowthMb float64 `json:"growthMb"`
	Error    string  `json:"error,omitempty"`
}

// stall reads the first of an answer, then nothing, until the upstream sends no more.
func stall(order stallOrder) stallResult {
	before := residentMb(order.Pid)
	var watched []*stream
	for range max(1, order.Connections) {
		id := lastId.Add(1)
		c := client{target: order.target, buffer: make([]byte, 4<<10)}
		defer c.close()
		s := watch(id)
		watched = append(watched, s)
		if err := c.open(id); err != nil {
			return stallResult{Error: err.Error()}
		}
		if _, err := c.head(); err != nil {
			return stallResult{Error: err.Error()}
		}
	}
	peak := before
	sent := func() (bytes int64) {
		for _, s := range watched {
			bytes += s.sent.Load()
		}
		return bytes
	}
	for last, quiet := int64(-1), 0; quiet < 15; {
		time.Sleep(100 * time.Millisecond)
		peak = max(peak, residentMb(order.Pid))
		if now := sent(); now != last {
			last, quiet = now, 0
		} else {
			quiet++
		}
	}
	return stallResult{SentMb: float64(sent()) / 1e6, GrowthMb: peak - before}
}

// residentMb is the resident memory of a process and its children.
func residentMb(pid int) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	pages, _ := strconv.Atoi(fields[1])
	return float64(pages*os.Getpagesize())/1e6 + ofChildren(pid, residentMb)
}

func ofChildren(pid int, value func(int) float64) (sum float64) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0
	}
	for _, child := range strings.Fields(string(text)) {
		if id, err := strconv.Atoi(child); err == nil {
			sum += value(id)
		}
	}
	return sum
}

// cpuMs is the processor time of a process and its children so far.
func cpuMs(pid int) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user+system)*10 + ofChildren(pid, cpuMs)
}
