// Bifrost's core behind a plain net/http front, for its own gateway cannot be had from the module proxy.
// Arguments: the port to listen on, and the URL of the upstream.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"

	bifrost "github.com/maximhq/bifrost/core"
	"github.com/maximhq/bifrost/core/schemas"
)

type account struct{ upstream string }

func (account) GetConfiguredProviders() ([]schemas.ModelProvider, error) {
	return []schemas.ModelProvider{schemas.OpenAI}, nil
}

func (account) GetKeysForProvider(*context.Context, schemas.ModelProvider) ([]schemas.Key, error) {
	return []schemas.Key{{ID: "bench", Value: "bench", Models: []string{"bench"}, Weight: 1}}, nil
}

func (a account) GetConfigForProvider(schemas.ModelProvider) (*schemas.ProviderConfig, error) {
	network := schemas.DefaultNetworkConfig
	network.BaseURL = a.upstream
	return &schemas.ProviderConfig{NetworkConfig: network, ConcurrencyAndBufferSize: schemas.DefaultConcurrencyAndBufferSize}, nil
}

type body struct {
	Model    string                `json:"model"`
	Messages []schemas.ChatMessage `json:"messages"`
	Stream   bool                  `json:"stream"`
}

func main() {
	core, err := bifrost.Init(context.Background(), schemas.BifrostConfig{Account: account{os.Args[2]}, Logger: bifrost.NewDefaultLogger(schemas.LogLevelError)})
	if err != nil {
		panic(err)
	}
	http.HandleFunc("/health", func(writer http.ResponseWriter, _ *http.Request) { writer.WriteHeader(http.StatusOK) })
	http.HandleFunc("/v1/chat/completions", func(writer http.ResponseWriter, request *http.Request) {
		var b body
		if err := json.NewDecoder(request.Body).Decode(&b); err != nil {
			http.Error(writer, err.Error(), http.StatusBadRequest)
			return
		}
		order := &schemas.BifrostChatRequest{Provider: schemas.OpenAI, Model: b.Model, Input: b.Messages}
		if !b.Stream {
			answer, failure := core.ChatCompletionRequest(request.Context(), order)
			if failure != nil {
				http.Error(writer, "upstream", http.StatusBadGateway)
				return
			}
			_ = json.NewEncoder(writer).Encode(answer)
			return
		}
		stream, failure := core.ChatCompletionStreamRequest(request.Context(), order)
		if failure != nil {
			http.Error(writer, "upstream", http.StatusBadGateway)
			return
		}
		writer.Header().Set("content-type", "text/event-stream")
		flusher := writer.(http.Flusher)
		for part := range stream {
			if part.BifrostResponse == nil {
				continue
			}
			text, _ := json.Marshal(part.BifrostResponse)
			fmt.Fprintf(writer, "data: %s\n\n", text)
			flusher.Flush()
		}
		fmt.Fprint(writer, "data: [DONE]\n\n")
	})
	panic(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}
