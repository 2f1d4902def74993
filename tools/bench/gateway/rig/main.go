// The rig of the gateway bench: fake upstreams that speak the worker's gRPC and OpenAI's SSE, and a closed-loop load.
// It says its ports in one line of JSON, then answers each line of JSON on standard input with one.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
)

type usage struct {
	CpuMs      float64 `json:"cpuMs"`
	ResidentMb float64 `json:"residentMb"`
	Running    int64   `json:"running"`
	Cancelled  int64   `json:"cancelled"`
}

func decode[T any](line []byte) T {
	var order T
	if err := json.Unmarshal(line, &order); err != nil {
		panic(err)
	}
	return order
}

func obey(line []byte) any {
	switch op := decode[struct{ Op string }](line).Op; op {
	case "load":
		return load(decode[loadOrder](line))
	case "abandon":
		return abandon(decode[abandonOrder](line))
	case "stall":
		return stall(decode[stallOrder](line))
	case "abuse":
		return abuse(decode[abuseOrder](line))
	case "usage":
		pid := decode[struct{ Pid int }](line).Pid
		return usage{CpuMs: cpuMs(pid), ResidentMb: residentMb(pid), Running: running.Load(), Cancelled: cancelledStreams.Load()}
	default:
		return map[string]string{"error": "unknown op " + op}
	}
}

func say(value any) {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(text))
}

func main() {
	grpcPort, err := serveGrpc()
	if err != nil {
		panic(err)
	}
	httpPort, err := serveSse()
	if err != nil {
		panic(err)
	}
	say(map[string]int{"grpcPort": grpcPort, "httpPort": httpPort})
	for lines := bufio.NewReaderSize(os.Stdin, 1<<20); ; {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		say(obey(line))
	}
}
