package main

import (
	"bytes"
	"strconv"
	"strings"
	"time"
)

// plan is what a request asks the fake upstream for. It stands in the prompt, so it comes through every gateway:
// "plan id=7 tokens=20 gap=10000 size=5 first=0;", times in microseconds, size in bytes of one token's text.
type plan struct {
	id     uint64
	tokens int
	gap    time.Duration
	size   int
	first  time.Duration
}

var planMark = []byte("plan ")

func readPlan(body []byte) plan {
	p := plan{tokens: 20, size: 5}
	at := bytes.Index(body, planMark)
	if at < 0 {
		return p
	}
	rest := body[at+len(planMark):]
	if end := bytes.IndexByte(rest, ';'); end >= 0 {
		rest = rest[:end]
	}
	for _, field := range strings.Fields(string(rest)) {
		name, text, _ := strings.Cut(field, "=")
		value, err := strconv.ParseUint(text, 10, 63)
		if err != nil {
			continue
		}
		switch name {
		case "id":
			p.id = value
		case "tokens":
			p.tokens = int(value)
		case "gap":
			p.gap = time.Duration(value) * time.Microsecond
		case "size":
			p.size = int(value)
		case "first":
			p.first = time.Duration(value) * time.Microsecond
		}
	}
	return p
}
