package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

type abandonOrder struct {
	target
	// "queued", "prefill", "streaming" or "whole": where the request is when its client leaves.
	Phase string `json:"phase"`
	Count int    `json:"count"`
	// How many clients do so side by side. Default 1.
	Connections int `json:"connections"`
	// For "queued": where the gateway's metrics are, and the name of the depth of its queue.
	Metrics string `json:"metrics"`
	Depth   string `json:"depth"`
}

type abandonResult struct {
	Cancelled int       `json:"cancelled"`
	Never     int       `json:"never"`
	Error     string    `json:"error,omitempty"`
	Ms        quantiles `json:"ms"`
}

const patience = 3 * time.Second

// abandon measures from the client's close to the end of its request at the upstream, or, while it is queued, in the gateway.
func abandon(order abandonOrder) abandonResult {
	var lock sync.Mutex
	var all sync.WaitGroup
	result := abandonResult{}
	var samples []time.Duration
	for range max(1, order.Connections) {
		all.Add(1)
		go func() {
			defer all.Done()
			for range order.Count {
				took, err := abandonOnce(order)
				lock.Lock()
				if err != nil {
					result.Never++
					result.Error = err.Error()
				} else {
					samples = append(samples, took)
				}
				lock.Unlock()
			}
		}()
	}
	all.Wait()
	result.Cancelled = len(samples)
	result.Ms = quantilesOf(samples)
	return result
}

func abandonOnce(order abandonOrder) (time.Duration, error) {
	id := lastId.Add(1)
	s := watch(id)
	defer streams.Delete(id)
	c := client{target: order.target, buffer: make([]byte, 32<<10)}
	defer c.close()
	if err := c.open(id); err != nil {
		return 0, err
	}
	if order.Phase == "queued" {
		return leaveQueue(&c, order)
	}
	if err := reach(&c, s, order.Phase); err != nil {
		return 0, err
	}
	left := time.Now()
	c.close()
	select {
	case <-s.cancelled:
		return time.Duration(s.cancelAt.Load() - left.UnixNano()), nil
	case <-time.After(patience):
		return 0, errors.New("never cancelled")
	}
}

// reach waits until the request is in its phase.
func reach(c *client, s *stream, phase string) error {
	select {
	case <-s.arrived:
	case <-time.After(patience):
		return errors.New("never arrived at the upstream")
	}
	if phase != "streaming" {
		time.Sleep(2 * time.Millisecond)
		return nil
	}
	response, err := c.head()
	if err != nil {
		return err
	}
	_, err = response.Body.Read(c.buffer)
	return err
}

func leaveQueue(c *client, order abandonOrder) (time.Duration, error) {
	if err := untilDepth(order, "1"); err != nil {
		return 0, err
	}
	left := time.Now()
	c.close()
	err := untilDepth(order, "0")
	return time.Since(left), err
}

func untilDepth(order abandonOrder, depth string) error {
	line := []byte("\n" + order.Depth + " " + depth + "\n")
	for end := time.Now().Add(patience); time.Now().Before(end); {
		response, err := http.Get(order.Metrics)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err == nil && bytes.Contains(text, line) {
			return nil
		}
	}
	return fmt.Errorf("the queue never had depth %s", depth)
}
