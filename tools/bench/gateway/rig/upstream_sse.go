package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

const chunkHead = `data: {"id":"chatcmpl-0123456789abcdef0123456789abcdef","object":"chat.completion.chunk","created":1700000000,"model":"bench","choices":[{"index":0,"delta":`

func event(delta, reason string) []byte {
	return []byte(chunkHead + delta + `,"logprobs":null,"finish_reason":` + reason + "}]}\n\n")
}

// serveChat answers as an OpenAI-compatible server: one flushed event for each token.
func serveChat(writer http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return
	}
	p := readPlan(body)
	s := arrive(p.id)
	if bytes.Contains(body, []byte(`"stream":true`)) || bytes.Contains(body, []byte(`"stream": true`)) {
		s.leave(!streamChat(writer, request, p, s))
	} else {
		s.leave(!wholeChat(writer, request, p))
	}
}

func streamChat(writer http.ResponseWriter, request *http.Request, p plan, s *stream) bool {
	start := time.Now()
	flusher := writer.(http.Flusher)
	token := event(`{"content":"`+strings.Repeat("x", p.size-1)+` "}`, "null")
	if !wait(request.Context(), start.Add(p.first)) {
		return false
	}
	writer.Header().Set("content-type", "text/event-stream; charset=utf-8")
	_, _ = writer.Write(event(`{"role":"assistant","content":""}`, "null"))
	for i := 0; i < p.tokens; i++ {
		if !wait(request.Context(), start.Add(p.first+time.Duration(i)*p.gap)) {
			return false
		}
		if _, err := writer.Write(token); err != nil {
			return false
		}
		flusher.Flush()
		s.count(len(token))
	}
	_, _ = writer.Write(event("{}", `"stop"`))
	_, _ = io.WriteString(writer, "data: [DONE]\n\n")
	flusher.Flush()
	return request.Context().Err() == nil
}

func wholeChat(writer http.ResponseWriter, request *http.Request, p plan) bool {
	if !wait(request.Context(), time.Now().Add(p.first+time.Duration(p.tokens)*p.gap)) {
		return false
	}
	writer.Header().Set("content-type", "application/json")
	fmt.Fprintf(writer, `{"id":"chatcmpl-0","object":"chat.completion","created":1700000000,"model":"bench","choices":[{"index":0,"message":{"role":"assistant","content":"%s"},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":%d,"total_tokens":%d}}`,
		strings.Repeat("x", p.size*p.tokens), p.tokens, p.tokens+7)
	return true
}

func serveJson(text string) http.HandlerFunc {
	return func(writer http.ResponseWriter, _ *http.Request) {
		writer.Header().Set("content-type", "application/json")
		_, _ = io.WriteString(writer, text)
	}
}

func serveSse() (int, error) {
	mux := http.NewServeMux()
	mux.HandleFunc("/v1/chat/completions", serveChat)
	mux.HandleFunc("/v1/models", serveJson(`{"object":"list","data":[{"id":"bench","object":"model","created":1700000000,"owned_by":"bench","max_model_len":1048576}]}`))
	for _, path := range []string{"/health", "/get_server_info", "/get_model_info"} {
		mux.HandleFunc(path, serveJson(`{"model_path":"bench","status":"ok"}`))
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("no port for HTTP: %w", err)
	}
	go func() { _ = http.Serve(listener, mux) }()
	return listener.Addr().(*net.TCPAddr).Port, nil
}
