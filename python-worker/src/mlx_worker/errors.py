"""The reasons for which the worker refuses or ends a request, in one table."""

from __future__ import annotations

import grpc

INVALID = grpc.StatusCode.INVALID_ARGUMENT

# Reason -> (gRPC status, message). Messages are shown to clients and say what to do.
REASONS: dict[str, tuple[grpc.StatusCode, str]] = {
    "MODEL_NOT_FOUND": (
        grpc.StatusCode.NOT_FOUND,
        "model {model!r} is not served here: use {served!r} or leave it empty",
    ),
    "PROMPT_EMPTY": (INVALID, "the prompt is empty: send a prompt or at least one message"),
    "PROMPT_TOO_LONG": (
        INVALID,
        "the prompt has {tokens} tokens, the model's context is {context}: leave room for at least one more",
    ),
    "ROLE_UNKNOWN": (INVALID, "role {role!r} is not known: use system, user, assistant or tool"),
    "CHAT_NOT_SUPPORTED": (INVALID, "the model has no chat template: send a prompt in place of messages"),
    "CHAT_NOT_RENDERED": (INVALID, "the model's chat template refuses these messages: {detail}"),
    "MAX_TOKENS_INVALID": (INVALID, "max_tokens is {value}: it must be at least 1"),
    "TEMPERATURE_INVALID": (INVALID, "temperature is {value}: it must be between 0 and 2"),
    "TOP_P_INVALID": (INVALID, "top_p is {value}: it must be above 0 and at most 1"),
    "STOP_INVALID": (INVALID, "stop must be at most 4 strings of 1 to 256 characters"),
    "MIN_P_INVALID": (INVALID, "min_p is {value}: it must be between 0 and 1"),
    "REPETITION_PENALTY_INVALID": (
        INVALID,
        "repetition_penalty is {value}: it must be above 0 and at most 10",
    ),
    "PENALTY_INVALID": (INVALID, "{name} is {value}: it must be between -2 and 2"),
    "LOGIT_BIAS_INVALID": (
        INVALID,
        "logit_bias must have at most {most} tokens of the vocabulary, each between -100 and 100",
    ),
    "TOP_LOGPROBS_INVALID": (INVALID, "top_logprobs must be at most {most}"),
    "SCHEMA_INVALID": (INVALID, "json_schema cannot be used: {detail}"),
    "TOOLS_INVALID": (INVALID, "tools must be JSON objects: {detail}"),
    "RESUME_INVALID": (
        INVALID,
        "resume_token_ids must be tokens of the model, at most {most} with these limits",
    ),
    "LIMIT_INVALID": (INVALID, "{name} is {value}: it must be between {least} and {most}"),
    "MODEL_NOT_LOADED": (
        grpc.StatusCode.NOT_FOUND,
        "model {model!r} could not be loaded: check the name or the folder",
    ),
    "MODEL_IN_USE": (
        grpc.StatusCode.FAILED_PRECONDITION,
        "model {model!r} is the default model or has requests: it stays",
    ),
    "MODEL_TOO_LARGE": (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "model {model!r} needs {needed} bytes, the budget of {budget} has no room: unpin or unload another",
    ),
    "MEMORY_LIMIT": (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "the request needs about {needed} bytes, above the memory limit: send a shorter one",
    ),
    "PINS_FULL": (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "pinned prompts need {needed} bytes, the budget of kept prompts is {budget}: unpin another",
    ),
    "QUEUE_TOKENS_FULL": (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "requests with {waiting} prompt tokens wait already: try again later",
    ),
    "QUEUE_BYTES_FULL": (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "{waiting} bytes of input wait to be read already: try again later",
    ),
    "QUEUE_FULL": (grpc.StatusCode.RESOURCE_EXHAUSTED, "{waiting} requests wait already: try again later"),
    "READER_TOO_SLOW": (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "more than {tokens} tokens were left unread: read the stream faster",
    ),
    "DRAINING": (grpc.StatusCode.UNAVAILABLE, "the worker is draining: try another one"),
    "LOADING": (grpc.StatusCode.UNAVAILABLE, "the model is being loaded: try again in a moment"),
    "ENGINE_STOPPED": (grpc.StatusCode.UNAVAILABLE, "the worker has stopped: try another one"),
    "SAMPLING_FAILED": (grpc.StatusCode.INTERNAL, "a token could not be drawn for this request"),
    "STEP_FAILED": (grpc.StatusCode.INTERNAL, "the model failed while it ran this request"),
    "INTERNAL": (grpc.StatusCode.INTERNAL, "an unexpected fault ended this request; the worker's log has it"),
}


class ServiceError(Exception):
    """An error that may be shown to a client: status, stable reason and message.

    `retry_after_ms` is set when a later attempt may succeed.
    """

    def __init__(self, reason: str, *, retry_after_ms: int | None = None, **values: object) -> None:
        self.code, template = REASONS[reason]
        self.reason = reason
        self.message = template.format(**values)
        self.retry_after_ms = retry_after_ms
        super().__init__(self.message)

    @property
    def is_fault(self) -> bool:
        """Whether the worker is to blame, and not the request or the load."""
        return self.code is grpc.StatusCode.INTERNAL or self.reason == "ENGINE_STOPPED"

    def trailing_metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes beside status and message: `reason`, and `retry-after-ms` where it applies."""
        retry = () if self.retry_after_ms is None else (("retry-after-ms", str(self.retry_after_ms)),)
        return (("reason", self.reason), *retry)
