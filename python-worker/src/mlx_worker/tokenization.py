"""From a prompt or a conversation to token ids, in a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from mlx_worker.errors import ServiceError
from mlx_worker.gen.mlx_serving.v1 import generation_pb2 as pb
from mlx_worker.model import LoadedModel

ROLES = ("system", "user", "assistant")


class Tokenization:
    """Tokenises for one model. One thread, since a tokenizer must not be entered by two at once."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tokenizer")

    async def encode(self, model: LoadedModel, source: str | pb.Conversation) -> list[int]:
        """Token ids of a prompt, or of a conversation rendered with the chat template.

        Raises ServiceError when there is nothing to encode, or when it leaves no room in the context.
        """
        loop = asyncio.get_running_loop()
        tokens = await loop.run_in_executor(self._executor, encode, model, source)
        if not tokens:
            raise ServiceError("PROMPT_EMPTY")
        if len(tokens) >= model.context_length:
            raise ServiceError("PROMPT_TOO_LONG", tokens=len(tokens), context=model.context_length)
        return tokens

    def close(self) -> None:
        """Ends the thread without waiting for what it does."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def encode(model: LoadedModel, source: str | pb.Conversation) -> list[int]:
    """Token ids; may be empty. Raises ServiceError for a conversation that cannot be rendered."""
    if isinstance(source, str):
        return encode_prompt(model, source)
    return encode_conversation(model, source.messages)


def encode_prompt(model: LoadedModel, prompt: str) -> list[int]:
    """Adds the special tokens that mlx_lm.stream_generate adds: none when the text has them already."""
    start = model.tokenizer.bos_token
    add_special_tokens = start is None or not prompt.startswith(start)
    return list(model.tokenizer.encode(prompt, add_special_tokens=add_special_tokens)) if prompt else []


def encode_conversation(model: LoadedModel, messages: Sequence[pb.ChatMessage]) -> list[int]:
    """Renders with the chat template, open for the assistant's answer."""
    if not messages:
        return []
    for message in messages:
        if message.role not in ROLES:
            raise ServiceError("ROLE_UNKNOWN", role=message.role)
    if not model.tokenizer.has_chat_template:
        raise ServiceError("CHAT_NOT_SUPPORTED")
    turns = [{"role": message.role, "content": message.content} for message in messages]
    try:
        return list(model.tokenizer.apply_chat_template(turns, add_generation_prompt=True))
    except Exception as error:
        # Templates raise errors of many kinds on purpose, for instance when roles do not alternate.
        raise ServiceError("CHAT_NOT_RENDERED", detail=str(error)) from error
