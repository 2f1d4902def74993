"""What a request gives the model to read."""

from __future__ import annotations

from mlx_worker.gen.mlx_serving.v1 import generation_pb2 as pb
from mlx_worker.gen.mlx_serving.v1 import worker_pb2 as wpb

WithInput = (
    wpb.WorkerGenerateRequest
    | wpb.PrepareRequest
    | wpb.TokenizeRequest
    | wpb.PrepareKvRequest
    | wpb.AllowSpeculationRequest
)


def input_of(message: WithInput) -> str | pb.Conversation:
    """The prompt or the conversation; an absent input is an empty prompt."""
    return message.conversation if message.WhichOneof("input") == "conversation" else message.prompt
