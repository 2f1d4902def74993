"""From a prompt or a conversation to token ids, in threads of their own."""

from __future__ import annotations

import copy
import functools
import json
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

from mlx_worker.errors import ServiceError
from mlx_worker.gen.mlx_serving.v1 import generation_pb2 as pb
from mlx_worker.input_queue import InputQueue, Lane, lane_of
from mlx_worker.model import LoadedModel

ROLES = ("system", "user", "assistant", "tool")


class Tokenization:
    """Tokenises. A tokenizer must not be entered by two threads at once: large inputs have a copy of it."""

    def __init__(self, queue: InputQueue | None = None) -> None:
        self._queue = queue or InputQueue()
        # The model's tokenizer -> its copy for large inputs, made with the first of them.
        self._copies: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()

    async def encode(
        self, model: LoadedModel, source: str | pb.Conversation, *, open_answer: bool = True
    ) -> list[int]:
        """Token ids of a prompt, or of a conversation rendered with the chat template.

        Raises ServiceError when there is nothing to encode, when it leaves no room in the context, or when
        too much waits for the tokenizer already.
        """
        nbytes = bytes_of(source)
        lane = lane_of(nbytes)
        work = functools.partial(self._encode, lane, model, source, open_answer)
        tokens = await self._queue.run(lane, nbytes, work)
        if not tokens:
            raise ServiceError("PROMPT_EMPTY")
        if len(tokens) >= model.context_length:
            raise ServiceError("PROMPT_TOO_LONG", tokens=len(tokens), context=model.context_length)
        return tokens

    def close(self) -> None:
        """Ends the threads without waiting for what they do."""
        self._queue.close()

    def _encode(
        self, lane: Lane, model: LoadedModel, source: str | pb.Conversation, open_answer: bool
    ) -> list[int]:
        if lane is not Lane.LARGE:
            return encode(model, source, open_answer)
        copied = self._copies.get(model.tokenizer)
        if copied is None:
            copied = self._copies[model.tokenizer] = copy.deepcopy(model.tokenizer)
        return encode(replace(model, tokenizer=copied), source, open_answer)


def bytes_of(source: str | pb.Conversation) -> int:
    """Memory of an input, about as it came over the wire."""
    return len(source.encode("utf-8", "surrogatepass")) if isinstance(source, str) else source.ByteSize()


def encode(model: LoadedModel, source: str | pb.Conversation, open_answer: bool = True) -> list[int]:
    """Token ids; may be empty. Raises ServiceError for a conversation that cannot be rendered."""
    if isinstance(source, str):
        return encode_prompt(model, source)
    return encode_conversation(model, source, open_answer)


def encode_prompt(model: LoadedModel, prompt: str) -> list[int]:
    """Adds the special tokens that mlx_lm.stream_generate adds: none when the text has them already."""
    start = model.tokenizer.bos_token
    add_special_tokens = start is None or not prompt.startswith(start)
    return list(model.tokenizer.encode(prompt, add_special_tokens=add_special_tokens)) if prompt else []


def encode_conversation(model: LoadedModel, conversation: pb.Conversation, open_answer: bool) -> list[int]:
    """Renders with the chat template; open for the answer, or as the beginning of a longer chat."""
    if not conversation.messages:
        return []
    for message in conversation.messages:
        if message.role not in ROLES:
            raise ServiceError("ROLE_UNKNOWN", role=message.role)
    if not model.tokenizer.has_chat_template:
        raise ServiceError("CHAT_NOT_SUPPORTED")
    tools = tools_of(conversation)
    arguments: dict[str, Any] = {"tools": tools} if tools else {}
    turns = [turn_of(message) for message in conversation.messages]
    try:
        return list(
            model.tokenizer.apply_chat_template(turns, add_generation_prompt=open_answer, **arguments)
        )
    except Exception as error:
        # Templates raise errors of many kinds on purpose, for instance when roles do not alternate.
        raise ServiceError("CHAT_NOT_RENDERED", detail=str(error)) from error


def turn_of(message: pb.ChatMessage) -> dict[str, Any]:
    """A message as chat templates know it."""
    turn: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_call_id:
        turn["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        turn["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": json_object(call.arguments_json)},
            }
            for call in message.tool_calls
        ]
    return turn


def tools_of(conversation: pb.Conversation) -> list[dict[str, Any]]:
    """The tools that the model may call. Raises ServiceError TOOLS_INVALID."""
    return [json_object(tool) for tool in conversation.tools_json]


def json_object(text: str) -> dict[str, Any]:
    """A JSON object from the caller. Raises ServiceError TOOLS_INVALID for anything else."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ServiceError("TOOLS_INVALID", detail=str(error)) from error
    if not isinstance(value, dict):
        raise ServiceError("TOOLS_INVALID", detail="not an object")
    return value
