package main

import (
	"io"
	"net/http"
	"time"
)

type abuseOrder struct {
	loadOrder
	// The body of the abusive request.
	Abuse string `json:"abuse"`
	// Whether the abusive client reads all it gets; else it reads a little and stops.
	Reads  bool   `json:"reads"`
	Health string `json:"health"`
}

type abuseResult struct {
	Load loadResult `json:"load"`
	// Milliseconds of the health checks meanwhile.
	Health quantiles `json:"health"`
	Failed int       `json:"failed"`
}

// abuse loads a gateway while one client asks for far too much, and asks for its health meanwhile. Without an abusive body it only loads.
func abuse(order abuseOrder) abuseResult {
	stop := make(chan struct{})
	if order.Abuse != "" {
		c := client{target: order.target, buffer: make([]byte, 64<<10)}
		c.target.Body = order.Abuse
		defer c.close()
		if c.open(lastId.Add(1)) == nil {
			if response, err := c.head(); err == nil && order.Reads {
				go func() { _, _ = io.Copy(io.Discard, response.Body) }()
			}
		}
	}
	result := abuseResult{}
	checked := make(chan struct{})
	go func() {
		defer close(checked)
		var samples []time.Duration
		for {
			select {
			case <-stop:
				result.Health = quantilesOf(samples)
				return
			case <-time.After(20 * time.Millisecond):
			}
			began := time.Now()
			response, err := http.Get(order.Health)
			if err != nil || response.StatusCode != http.StatusOK {
				result.Failed++
				continue
			}
			_, _ = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close()
			samples = append(samples, time.Since(began))
		}
	}()
	result.Load = load(order.loadOrder)
	close(stop)
	<-checked
	return result
}
