"""Asks the gateway with the official OpenAI client, at once and streamed, what is on standard input."""

from __future__ import annotations

import json
import sys

from openai import OpenAI


def main() -> None:
    request = json.load(sys.stdin)
    client = OpenAI(base_url=sys.argv[1], api_key="unused")
    options = {"model": "tiny", "temperature": 0, **request}
    whole = client.chat.completions.create(**options)
    stream = client.chat.completions.create(**options, stream=True, stream_options={"include_usage": True})
    parts, usage = [], None
    for chunk in stream:
        usage = chunk.usage or usage
        parts += [choice.delta.content or "" for choice in chunk.choices]
    answer = {
        "text": whole.choices[0].message.content,
        "finish_reason": whole.choices[0].finish_reason,
        "usage": whole.usage.to_dict(),
        "streamed": "".join(parts),
        "streamed_usage": usage.to_dict(),
        "models": [model.id for model in client.models.list()],
    }
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
