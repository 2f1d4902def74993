"""Streams an answer by gRPC with nothing but the address of the gateway: the contract comes by reflection."""

from __future__ import annotations

import json
import sys

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


def main() -> None:
    request = json.load(sys.stdin)
    with grpc.insecure_channel(sys.argv[1]) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        services = sorted(database.get_services())
        service = DescriptorPool(database).FindServiceByName("mlx_serving.v1.Inference")
        method = service.FindMethodByName("Generate")
        request_class, response_class = (
            GetMessageClass(method.input_type),
            GetMessageClass(method.output_type),
        )
        generate = channel.unary_stream(
            f"/{service.full_name}/{method.name}",
            request_serializer=request_class.SerializeToString,
            response_deserializer=response_class.FromString,
        )
        message = request_class(
            conversation={"messages": request["messages"]},
            sampling={"max_tokens": request["max_tokens"], "temperature": 0},
            user="reflection",
        )
        events = list(generate(message, timeout=60))
    answer = {
        "services": services,
        "variant": events[0].decision.variant,
        "text": "".join(event.generated.text for event in events),
        "completion_tokens": events[-1].finished.usage.completion_tokens,
    }
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
