"""Holds an answer to a JSON schema, with llguidance."""

from __future__ import annotations

import threading
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import mlx.core as mx
import numpy as np
from llguidance import LLMatcher, LLTokenizer
from llguidance.hf import from_tokenizer

from mlx_worker.errors import ServiceError
from mlx_worker.model import LoadedModel


class Constraint(Protocol):
    """Follows an answer and says what may come next."""

    def mask(self, logits: mx.array) -> mx.array:
        """Makes impossible what may not come next. [1, vocabulary]."""

    def accept(self, token: int) -> None:
        """The answer has gone on with this token."""


class SchemaConstraint:
    """A JSON schema. Made in any thread, then used in the engine's."""

    def __init__(self, tokenizer: LLTokenizer, schema: str) -> None:
        # Else a model may write white space without end.
        grammar = LLMatcher.grammar_from_json_schema(schema, defaults={"whitespace_flexible": False})
        self._matcher = LLMatcher(tokenizer, grammar)
        fault = self._matcher.get_error()
        if fault:
            raise ServiceError("SCHEMA_INVALID", detail=fault.splitlines()[0][:200])

    def mask(self, logits: mx.array) -> mx.array:
        """Once the JSON is complete only the end is allowed."""
        allowed = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        bits = np.unpackbits(allowed, bitorder="little")
        width = logits.shape[-1]
        full = np.zeros(width, dtype=bool)
        full[: min(width, bits.size)] = bits[:width]
        return mx.where(mx.array(full)[None], logits, -mx.inf)

    def accept(self, token: int) -> None:
        """Raises ValueError when the token is not allowed, which a masked draw cannot give."""
        if not self._matcher.is_stopped() and not self._matcher.consume_token(token):
            raise ValueError(self._matcher.get_error() or "a token that the schema does not allow")


class Constraints:
    """Makes constraints. A model's vocabulary is prepared once, which takes a while, and goes with it."""

    def __init__(self) -> None:
        # By the tokenizer itself: another model may come under the same name.
        self._vocabularies: WeakKeyDictionary[Any, LLTokenizer] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._vocabularies)

    def for_schema(self, model: LoadedModel, schema: str) -> SchemaConstraint:
        """Raises ServiceError for a schema, or a tokenizer, that cannot be used."""
        with self._lock:
            vocabulary = self._vocabularies.get(model.tokenizer)
            if vocabulary is None:
                vocabulary = self._vocabularies[model.tokenizer] = vocabulary_of(model)
        try:
            return SchemaConstraint(vocabulary, schema)
        except ValueError as error:
            raise ServiceError("SCHEMA_INVALID", detail=str(error).splitlines()[0][:200]) from error


def vocabulary_of(model: LoadedModel) -> LLTokenizer:
    """The model's vocabulary for llguidance."""
    inner = getattr(model.tokenizer, "_tokenizer", model.tokenizer)
    try:
        return from_tokenizer(inner, eos_token=sorted(model.end_tokens) or None)
    except Exception as error:
        raise ServiceError("SCHEMA_INVALID", detail="the model's tokenizer does not support it") from error
