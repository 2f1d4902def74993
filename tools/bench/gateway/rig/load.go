package main

import (
	"sort"
	"sync"
	"time"
)

type loadOrder struct {
	target
	Connections int     `json:"connections"`
	Seconds     float64 `json:"seconds"`
	// Streams of each connection, in place of the seconds.
	Count int `json:"count"`
}

type loadResult struct {
	Streams int     `json:"streams"`
	Errors  int     `json:"errors"`
	Error   string  `json:"error,omitempty"`
	Seconds float64 `json:"seconds"`
	// Milliseconds to the first content.
	First quantiles `json:"first"`
	// Milliseconds to the end.
	Total quantiles `json:"total"`
	Bytes int       `json:"bytes"`
}

type quantiles struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

func quantilesOf(samples []time.Duration) quantiles {
	if len(samples) == 0 {
		return quantiles{}
	}
	sort.Slice(samples, func(a, b int) bool { return samples[a] < samples[b] })
	at := func(share float64) float64 {
		return float64(samples[int(share*float64(len(samples)-1)+0.5)]) / float64(time.Millisecond)
	}
	return quantiles{P50: at(0.5), P90: at(0.9), P99: at(0.99), Max: at(1)}
}

// load runs a closed loop: each connection sends its next request when its last answer has ended.
func load(order loadOrder) loadResult {
	var lock sync.Mutex
	var all sync.WaitGroup
	result := loadResult{}
	var first, total []time.Duration
	began := time.Now()
	end := began.Add(time.Duration(order.Seconds * float64(time.Second)))
	for range order.Connections {
		all.Add(1)
		go func() {
			defer all.Done()
			c := client{target: order.target, buffer: make([]byte, 32<<10)}
			defer c.close()
			answers := make([]answer, 0, 1024)
			failures, failure := 0, ""
			for n := 0; (order.Count > 0 && n < order.Count) || (order.Count == 0 && time.Now().Before(end)); n++ {
				one, err := c.do(lastId.Add(1))
				if err != nil {
					failures, failure = failures+1, err.Error()
					c.close()
					continue
				}
				answers = append(answers, one)
			}
			lock.Lock()
			defer lock.Unlock()
			for _, one := range answers {
				first, total = append(first, one.first), append(total, one.total)
				result.Bytes += one.bytes
			}
			result.Errors += failures
			if failure != "" {
				result.Error = failure
			}
		}()
	}
	all.Wait()
	result.Seconds = time.Since(began).Seconds()
	result.Streams = len(total)
	result.First, result.Total = quantilesOf(first), quantilesOf(total)
	return result
}
