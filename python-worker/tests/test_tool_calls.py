"""Tool calls, from the chat template to the answer, against mlx-lm's own templates and parsers."""

from __future__ import annotations

import json
from pathlib import Path

import mlx.core as mx
import mlx_lm
import pytest
from conftest import collect, running_worker
from test_never_dead import copy_of_tiny

from mlx_worker.gen.mlx_serving.v1 import generation_pb2 as pb
from mlx_worker.gen.mlx_serving.v1 import worker_pb2 as wpb
from mlx_worker.sampling import GREEDY

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        },
    },
}
TURNS = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}"
    "{% for call in message['tool_calls'] %}{{ call['function']['name'] }}{% endfor %}<|end|>{% endfor %}"
)
TOOLS = "{% for tool in tools or [] %}{{ tool | tojson }}{% endfor %}"
# Parser of mlx-lm -> what in a template tells it, and an answer of such a model.
KINDS = {
    "json_tools": (
        "<tool_call>{{ tool_call.name }}",
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Zürich", "days": 2}}\n</tool_call>',
    ),
    "qwen3_coder": (
        "<tool_call>\n<function=",
        "<tool_call>\n<function=weather>\n<parameter=city>\nZürich\n</parameter>\n"
        "<parameter=days>\n2\n</parameter>\n</function>\n</tool_call>",
    ),
    "mistral": ("[TOOL_CALLS]", '[TOOL_CALLS]weather[ARGS]{"city": "Zürich", "days": 2}'),
    "pythonic": (
        "<|tool_call_start|>",
        '<|tool_call_start|>[weather(city="Zürich", days=2)]<|tool_call_end|>',
    ),
    "glm47": (
        "<arg_key>",
        "<tool_call>weather<arg_key>city</arg_key><arg_value>Zürich</arg_value>"
        "<arg_key>days</arg_key><arg_value>2</arg_value></tool_call>",
    ),
}


def model_with_tools(folder: Path, kind: str) -> str:
    """The packaged model with a chat template that knows tools, in the manner of a family of models."""
    path = Path(copy_of_tiny(folder))
    config = json.loads((path / "tokenizer_config.json").read_text())
    mark = KINDS[kind][0].replace("{{ tool_call.name }}", "' ~ 'tool_call.name")
    config["chat_template"] = f"{{% if false %}}{{{{ '{mark}' }}}}{{% endif %}}{TOOLS}{TURNS}" + (
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    (path / "tokenizer_config.json").write_text(json.dumps(config))
    return str(path)


class Script:
    """Sampled requests say a text, and then end."""

    def __init__(self) -> None:
        self.tokens: list[int] = []

    def make_sampler(self, options):
        script = iter(self.tokens)

        class ScriptedSampler:
            fault = None

            def __call__(self, logprobs: mx.array) -> mx.array:
                return mx.array([next(script, 0)])

        return ScriptedSampler() if options.temperature > 0 else GREEDY

    def say(self, tokenizer, text: str) -> None:
        self.tokens = [*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]


@pytest.mark.parametrize("kind", list(KINDS))
async def test_a_tool_call_is_what_mlx_lm_makes_of_the_models_answer(tmp_path, kind):
    folder = model_with_tools(tmp_path / kind, kind)
    tokenizer = mlx_lm.load(folder)[1]
    assert tokenizer.tool_parser.__module__.endswith(kind)
    said = KINDS[kind][1]
    inner = said.removeprefix(tokenizer.tool_call_start).removesuffix(tokenizer.tool_call_end or "")
    parsed = tokenizer.tool_parser(inner, [WEATHER])
    (wanted,) = parsed if isinstance(parsed, list) else [parsed]
    script = Script()
    script.say(tokenizer, f"Let me see. {said}")
    conversation = pb.Conversation(
        messages=[pb.ChatMessage(role="user", content="How is the weather?")],
        tools_json=[json.dumps(WEATHER)],
    )
    async with running_worker(script.make_sampler, model=folder) as worker:
        tokenised = await worker.stub.Tokenize(wpb.TokenizeRequest(conversation=conversation))
        turns = [{"role": "user", "content": "How is the weather?"}]
        rendered = tokenizer.apply_chat_template(turns, tools=[WEATHER], add_generation_prompt=True)
        assert list(tokenised.token_ids) == list(rendered)
        sampling = pb.SamplingOptions(temperature=1, max_tokens=200)
        message = wpb.WorkerGenerateRequest(conversation=conversation, sampling=sampling)
        answer = await collect(worker.stub.Generate(message))
        (call,) = answer.finished.tool_calls
        assert (call.name, json.loads(call.arguments_json)) == (wanted["name"], arguments_of(wanted))
        assert json.loads(call.arguments_json) == {"city": "Zürich", "days": 2}
        assert answer.finished.finish_reason == pb.FINISH_REASON_TOOL_CALLS
        assert answer.text == "Let me see. "


def arguments_of(parsed: dict) -> dict:
    arguments = parsed["arguments"]
    return json.loads(arguments) if isinstance(arguments, str) else arguments


async def test_the_answer_of_a_tool_goes_back_into_the_conversation(tmp_path):
    folder = model_with_tools(tmp_path / "model", "json_tools")
    tokenizer = mlx_lm.load(folder)[1]
    call = pb.ToolCall(id="1", name="weather", arguments_json='{"city": "Z"}')
    conversation = pb.Conversation(
        messages=[
            pb.ChatMessage(role="user", content="How is the weather?"),
            pb.ChatMessage(role="assistant", tool_calls=[call]),
            pb.ChatMessage(role="tool", content="sunny", tool_call_id="1"),
        ]
    )
    async with running_worker(model=folder) as worker:
        tokenised = await worker.stub.Tokenize(wpb.TokenizeRequest(conversation=conversation))
        text = tokenizer.decode(list(tokenised.token_ids))
        assert "weather" in text
        assert "sunny" in text


async def test_without_tools_in_the_request_the_text_is_the_answer(tmp_path):
    folder = model_with_tools(tmp_path / "model", "json_tools")
    script = Script()
    script.say(mlx_lm.load(folder)[1], KINDS["json_tools"][1])
    async with running_worker(script.make_sampler, model=folder) as worker:
        answer = await worker.generate(chat="Hello", temperature=1, max_tokens=200)
        assert answer.text == KINDS["json_tools"][1]
        assert not answer.finished.tool_calls
        assert answer.finished.finish_reason == pb.FINISH_REASON_STOP
