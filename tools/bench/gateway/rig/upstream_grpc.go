package main

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// raw carries the worker's messages as bytes, and those of grpc.health.v1 as what they are.
type raw struct{}

func (raw) Name() string { return "proto" }

func (raw) Marshal(value any) ([]byte, error) {
	switch message := value.(type) {
	case *[]byte:
		return *message, nil
	case proto.Message:
		return proto.Marshal(message)
	}
	return nil, errors.New("not a message")
}

func (raw) Unmarshal(data []byte, value any) error {
	switch message := value.(type) {
	case *[]byte:
		*message = append([]byte(nil), data...)
		return nil
	case proto.Message:
		return proto.Unmarshal(data, message)
	}
	return errors.New("not a message")
}

func field(number protowire.Number, bytes []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), bytes)
}

func varint(number protowire.Number, value uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, number, protowire.VarintType), value)
}

func join(parts ...[]byte) (all []byte) {
	for _, part := range parts {
		all = append(all, part...)
	}
	return all
}

// The events of WorkerGenerateResponse (proto/mlx_serving/v1/worker.proto).
var accepted = field(1, join(varint(2, 7), field(3, []byte("bench"))))

func finished(tokens int) []byte {
	return field(3, join(varint(1, 1), field(2, join(varint(1, 7), varint(2, uint64(tokens))))))
}

var chunks sync.Map

func chunk(size int) []byte {
	if found, ok := chunks.Load(size); ok {
		return found.([]byte)
	}
	bytes := field(2, field(1, join(varint(1, 1234), field(2, []byte(strings.Repeat("x", size-1)+" ")))))
	chunks.Store(size, bytes)
	return bytes
}

func generate(_ any, call grpc.ServerStream) error {
	var request []byte
	if err := call.RecvMsg(&request); err != nil {
		return err
	}
	p := readPlan(request)
	s := arrive(p.id)
	err := sendTokens(call, p, s)
	s.leave(err != nil)
	return err
}

func sendTokens(call grpc.ServerStream, p plan, s *stream) error {
	start := time.Now()
	if err := call.SendMsg(&accepted); err != nil {
		return err
	}
	token := chunk(p.size)
	for i := 0; i < p.tokens; i++ {
		if !wait(call.Context(), start.Add(p.first+time.Duration(i)*p.gap)) {
			return call.Context().Err()
		}
		if err := call.SendMsg(&token); err != nil {
			return err
		}
		s.count(len(token))
	}
	last := finished(p.tokens)
	if err := call.SendMsg(&last); err != nil {
		return err
	}
	return call.Context().Err()
}

func listModels(_ any, call grpc.ServerStream) error {
	var request []byte
	if err := call.RecvMsg(&request); err != nil {
		return err
	}
	answer := field(1, join(field(1, []byte("bench")), varint(2, 1<<20), varint(4, 1_700_000_000), varint(7, 1)))
	return call.SendMsg(&answer)
}

func serveGrpc() (int, error) {
	server := grpc.NewServer(grpc.ForceServerCodec(raw{}))
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "mlx_serving.v1.Worker",
		HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{
			{StreamName: "Generate", Handler: generate, ServerStreams: true},
			{StreamName: "ListModels", Handler: listModels, ServerStreams: true},
		},
	}, nil)
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("no port for gRPC: %w", err)
	}
	go func() { _ = server.Serve(listener) }()
	return listener.Addr().(*net.TCPAddr).Port, nil
}
