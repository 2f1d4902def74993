package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// stream is one request at the fake upstream.
type stream struct {
	arrived   chan struct{}
	cancelled chan struct{}
	cancelAt  atomic.Int64
	ended     atomic.Bool
	sent      atomic.Int64
}

// streams holds those that somebody watches, by the id of their plan.
var streams sync.Map

var running, cancelledStreams atomic.Int64

func watch(id uint64) *stream {
	s := &stream{arrived: make(chan struct{}), cancelled: make(chan struct{})}
	streams.Store(id, s)
	return s
}

func arrive(id uint64) *stream {
	running.Add(1)
	if found, ok := streams.LoadAndDelete(id); ok {
		s := found.(*stream)
		close(s.arrived)
		return s
	}
	return nil
}

// leave is called once, when the upstream is done with a stream.
func (s *stream) leave(cancelled bool) {
	running.Add(-1)
	if cancelled {
		cancelledStreams.Add(1)
	}
	if s == nil {
		return
	}
	s.ended.Store(true)
	if cancelled {
		s.cancelAt.Store(time.Now().UnixNano())
		close(s.cancelled)
	}
}

func (s *stream) count(bytes int) {
	if s != nil {
		s.sent.Add(int64(bytes))
	}
}

// wait returns false when the stream was cancelled meanwhile.
func wait(ctx context.Context, until time.Time) bool {
	delay := time.Until(until)
	if delay <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
