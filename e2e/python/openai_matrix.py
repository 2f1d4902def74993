"""Sends every body on standard input by the official OpenAI client, both ways; prints texts or refusals."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from openai import APIStatusError, OpenAI

client = OpenAI(base_url=sys.argv[1], api_key="unused", max_retries=0)

BARE = {
    "/v1/chat/completions": ("model", "messages"),
    "/v1/completions": ("model", "prompt"),
    "/v1/responses": ("model", "input"),
}


def create(endpoint: str, body: dict[str, Any], stream: bool) -> Any:
    """What the client has no argument for goes into the body as it is."""
    resource = {
        "/v1/chat/completions": client.chat.completions,
        "/v1/completions": client.completions,
        "/v1/responses": client.responses,
    }[endpoint]
    arguments = {name: body[name] for name in BARE[endpoint]}
    rest = {name: value for name, value in body.items() if name not in arguments and name != "stream"}
    return resource.create(**arguments, stream=stream, extra_body=rest)


def whole_text(endpoint: str, answer: Any) -> str:
    """The text or the call of the first answer."""
    if endpoint == "/v1/responses":
        return "".join(
            item.arguments if item.type == "function_call" else item.content[0].text for item in answer.output
        )
    choice = answer.choices[0]
    if endpoint == "/v1/completions":
        return choice.text
    calls = choice.message.tool_calls or []
    return (choice.message.content or "") + "".join(call.function.arguments for call in calls)


def delta_text(endpoint: str, chunk: Any) -> str:
    """What one chunk adds to the first answer."""
    if endpoint == "/v1/responses":
        return chunk.delta if chunk.type.endswith((".output_text.delta", "_arguments.delta")) else ""
    if not chunk.choices or chunk.choices[0].index != 0:
        return ""
    if endpoint == "/v1/completions":
        return chunk.choices[0].text
    delta = chunk.choices[0].delta
    return (delta.content or "") + "".join(call.function.arguments or "" for call in delta.tool_calls or [])


def ask(case: dict[str, Any]) -> dict[str, Any]:
    """Both ways of one case; an error is its message."""
    endpoint, body, streams, whole = (
        case["endpoint"],
        case["body"],
        case["streams"],
        case["whole"],
    )
    try:
        text = whole_text(endpoint, create(endpoint, body, False)) if whole else None
        parts = [delta_text(endpoint, chunk) for chunk in create(endpoint, body, True)] if streams else None
        return {"whole": text, "streamed": None if parts is None else "".join(parts)}
    except APIStatusError as error:
        return {"error": str(error), "refusal": [error.status_code, error.code, error.param]}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def main() -> None:
    cases = json.load(sys.stdin)
    with ThreadPoolExecutor(4) as pool:
        json.dump(list(pool.map(ask, cases)), sys.stdout)


if __name__ == "__main__":
    main()
