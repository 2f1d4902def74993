"""Kept prompts on disk: a worker that starts again starts warm, and only with what is its own."""

from __future__ import annotations

import io
import json
import os
import signal
import time
from pathlib import Path

import grpc
import mlx.core as mx
import mlx_lm
import pytest
from conftest import running_worker
from hypothesis import given, settings
from hypothesis import strategies as st
from test_never_dead import copy_of_tiny
from test_process import MODULE, TIMEOUT, process, serving_port

from mlx_worker.engine import kv_files
from mlx_worker.engine.kv_file import name_of
from mlx_worker.engine.kv_files import KvFiles
from mlx_worker.engine.prefix_tree import PrefixTree
from mlx_worker.fingerprint import fingerprint_of
from mlx_worker.gen.mlx_serving.v1 import worker_pb2 as wpb
from mlx_worker.gen.mlx_serving.v1 import worker_pb2_grpc as wgrpc
from mlx_worker.logs import Logger
from mlx_worker.model import PACKAGED_MODELS
from mlx_worker.slices import at_once

KV, SPECULATE = "ttft_pipeline.kv_prep", "ttft_pipeline.speculation"
PROMPT = "A kill switch turns a feature off at once, for everybody. " * 4
HINT = wpb.TtftHint(allow_speculation=True)


def request_for(prompt: str = PROMPT, **fields) -> wpb.WorkerGenerateRequest:
    message = wpb.WorkerGenerateRequest(
        prompt=prompt, enabled_flags=[KV, SPECULATE], ttft_hint=HINT, **fields
    )
    message.sampling.max_tokens = 12
    return message


def ask(port: int, **fields) -> tuple[list[int], wpb.GenerationFinished]:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        messages = list(wgrpc.WorkerStub(channel).Generate(request_for(**fields)))
    return [token.id for message in messages for token in message.chunk.tokens], messages[-1].finished


def files_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*.safetensors"))


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGKILL], ids=["told to stop", "killed"])
def test_an_exact_repeat_after_a_restart_is_known_and_has_the_same_answer(tmp_path, sign, reference):
    options = ("--port", "0", "--metrics-port", "0", "--kv-dir", str(tmp_path))
    with process(MODULE, *options) as running:
        before, finished = ask(serving_port(running))
        assert finished.usage.cached_prompt_tokens == 0
        if sign is signal.SIGKILL:
            # Idle time is enough for it: the prompt and the turn are on disk.
            deadline = time.monotonic() + TIMEOUT
            while len(files_in(tmp_path)) < 2:
                assert time.monotonic() < deadline, "idle time has written nothing"
                os.sched_yield()
        running.send_signal(sign)
        running.wait(TIMEOUT)
    assert {oct(path.stat().st_mode & 0o777) for path in files_in(tmp_path)} == {"0o600"}
    with process(MODULE, *options) as running:
        after, finished = ask(serving_port(running))
        assert after == before == reference.generate(PROMPT, 12)[0]
        assert finished.usage.cached_prompt_tokens == finished.usage.prompt_tokens
        assert "speculation:hit" in [stage.name for stage in finished.stages]


async def test_tenants_and_pins_are_what_they_were(tmp_path):
    async with running_worker(kv_dir=str(tmp_path)) as worker:
        await worker.stub.PrepareKv(wpb.PrepareKvRequest(prompt=PROMPT, tenant="a", pin=True))
    async with running_worker(kv_dir=str(tmp_path)) as worker:
        stats = await worker.until(lambda stats: True)
        assert stats.prefix_cache.pinned == 1
        for tenant, known in (("b", False), ("a", True)):
            answer = await worker.generate(
                PROMPT, max_tokens=2, request={"enabled_flags": [KV], "tenant": tenant}
            )
            assert (answer.finished.usage.cached_prompt_tokens > 0) is known, tenant


@pytest.mark.parametrize(
    "harm", [lambda content: content[:-5], lambda content: b"", lambda content: content[:-1] + b"\xff"]
)
async def test_a_file_that_was_harmed_is_reported_removed_and_not_used(tmp_path, harm, reference):
    async with running_worker(kv_dir=str(tmp_path)) as worker:
        await worker.generate(PROMPT, max_tokens=2, request={"enabled_flags": [KV]})
    (folder,) = tmp_path.iterdir()
    (folder / "stray.safetensors").write_text("no file of ours")
    harmed = [path for path in files_in(tmp_path) if path.name != "stray.safetensors"]
    for path in harmed:
        path.write_bytes(harm(path.read_bytes()))
    async with running_worker(kv_dir=str(tmp_path)) as worker:
        assert worker.log.getvalue().count("cannot be used and is removed") == len(harmed) + 1
        assert files_in(tmp_path) == []
        answer = await worker.generate(PROMPT, max_tokens=12, request={"enabled_flags": [KV]})
        assert answer.finished.usage.cached_prompt_tokens == 0
        assert answer.ids == reference.generate(PROMPT, 12)[0]


async def test_another_model_under_the_same_name_reads_nothing(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    first = copy_of_tiny(tmp_path / "a" / "model")
    other = copy_of_tiny(tmp_path / "b" / "model", rope_theta=500.0)
    kept = str(tmp_path / "kv")
    for model, known in ((first, False), (other, False), (first, True)):
        async with running_worker(kv_dir=kept, model=model) as worker:
            answer = await worker.generate(PROMPT, max_tokens=2, request={"enabled_flags": [KV]})
            assert (answer.finished.usage.cached_prompt_tokens > 0) is known


def test_a_fingerprint_tells_weights_adapters_and_templates_apart():
    def loaded():
        return mlx_lm.load(str(PACKAGED_MODELS / "tiny"))[:2]

    network, tokenizer = loaded()
    same = fingerprint_of(*loaded())
    assert fingerprint_of(network, tokenizer) == same
    tokenizer.chat_template = "{{ messages }}"
    assert fingerprint_of(network, tokenizer) != same
    network, tokenizer = loaded()
    weights = network.model.layers[1].self_attn.q_proj
    weights.weight = weights.weight * 1.01
    assert fingerprint_of(network, tokenizer) != same


async def test_the_disk_is_bounded_and_the_newest_stay(tmp_path):
    async with running_worker(kv_dir=str(tmp_path), kv_dir_bytes=400_000) as worker:
        for number in range(8):
            await worker.generate(f"{number} " + PROMPT, max_tokens=2, request={"enabled_flags": [KV]})
    assert 0 < sum(path.stat().st_size for path in files_in(tmp_path)) <= 400_000
    async with running_worker(kv_dir=str(tmp_path), kv_dir_bytes=400_000) as worker:
        answer = await worker.generate("7 " + PROMPT, max_tokens=2, request={"enabled_flags": [KV]})
        assert answer.finished.usage.cached_prompt_tokens > 0


async def test_a_disk_that_cannot_be_written_harms_nobody(tmp_path, reference):
    path = tmp_path / "file"
    path.write_text("")
    async with running_worker(kv_dir=str(path)) as worker:
        answer = await worker.generate(PROMPT, max_tokens=12, request={"enabled_flags": [KV]})
        assert answer.ids == reference.generate(PROMPT, 12)[0]
        again = await worker.generate(PROMPT, max_tokens=12, request={"enabled_flags": [KV]})
        assert again.finished.usage.cached_prompt_tokens > 0
    assert "could not be written to disk" in worker.log.getvalue()


def layers_of(tokens: list[int]) -> list[tuple[mx.array, mx.array]]:
    """Keys and values that tell each position and its token."""
    rows = [[float(at * 100 + token)] * 2 for at, token in enumerate(tokens)]
    keys = mx.array(rows).reshape(1, 1, len(tokens), 2)
    return [(keys, -keys)]


PROMPTS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=9), min_size=1, max_size=10)


@settings(max_examples=40, deadline=None)
@given(prompts=PROMPTS, marks=st.lists(st.booleans(), min_size=10, max_size=10))
def test_any_tree_comes_back_as_it_was(tmp_path_factory, prompts, marks):
    folder = tmp_path_factory.mktemp("kv")
    logger = Logger("error", io.StringIO())
    tree = PrefixTree(10**9)
    files = KvFiles(folder, 10**9, tree, logger, lambda: None)
    at_once(files.restore("m", "f"))
    for prompt, mark in zip(prompts, marks, strict=False):
        logits = mx.array([[float(len(prompt))]]) if mark else None
        tree.insert(("m", "t"), prompt, layers_of(prompt), logits=logits, pin=mark)
        files.save_one()
    files.save_all()
    again = PrefixTree(10**9)
    at_once(KvFiles(folder, 10**9, again, logger, lambda: None).restore("m", "f"))
    assert again.pinned == tree.pinned
    for prompt in prompts:
        match, before = again.match(("m", "t"), prompt), tree.match(("m", "t"), prompt)
        assert match.length == len(prompt)
        assert (match.logits is None) == (before.logits is None)
        ((keys, values),) = match.layers(len(prompt), 1)
        ((wanted, _),) = layers_of(prompt)
        assert mx.array_equal(keys[..., : len(prompt), :], wanted)
        assert mx.array_equal(values[..., : len(prompt), :], -wanted)


def test_what_is_written_says_what_it_is(tmp_path):
    tree = PrefixTree(10**9)
    files = KvFiles(tmp_path, 10**9, tree, Logger("error", io.StringIO()), lambda: None)
    at_once(files.restore("m", "f"))
    tree.insert(("m", "t"), [1, 2], layers_of([1, 2]))
    assert files.pending
    files.save_all()
    assert not files.pending
    (path,) = files_in(tmp_path)
    _, metadata = mx.load(str(path), return_metadata=True)
    assert json.loads(metadata["about"]) == {
        "tenant": "t",
        "path": [],
        "tokens": [1, 2],
        "layers": 1,
        "pinned": False,
    }


def kept_files(folder: Path) -> tuple[PrefixTree, KvFiles]:
    """A tree, and its files in a folder where there may be some of an earlier one."""
    tree = PrefixTree(10**9)
    return tree, KvFiles(folder, 10**9, tree, Logger("error", io.StringIO()), lambda: None)


def pins_after_a_restart(folder: Path) -> int:
    tree, files = kept_files(folder)
    at_once(files.restore("m", "f"))
    return tree.pinned


def write_kept(tmp_path, *prompts: list[int]) -> None:
    """Leaves prompts on disk, as an earlier process does."""
    tree, files = kept_files(tmp_path)
    at_once(files.restore("m", "f"))
    for prompt in prompts:
        tree.insert(("m", "t"), prompt, layers_of(prompt))
    files.save_all()


def test_what_was_read_from_disk_is_not_written_again(tmp_path):
    write_kept(tmp_path, [1, 2, 3], [1, 2, 4], [1, 2, 3, 5])
    before = {path: path.stat().st_mtime_ns for path in files_in(tmp_path)}
    again, files = kept_files(tmp_path)
    assert at_once(files.restore("m", "f")) == len(again) == len(before) == 4
    files.save_all()
    assert {path: path.stat().st_mtime_ns for path in files_in(tmp_path)} == before


@pytest.mark.parametrize("evicted", [False, True])
def test_a_pin_that_was_taken_away_does_not_come_back(tmp_path, evicted):
    tree, files = kept_files(tmp_path)
    at_once(files.restore("m", "f"))
    tree.insert(("m", "t"), [1, 2, 3], layers_of([1, 2, 3]), pin=True)
    files.save_all()
    assert pins_after_a_restart(tmp_path) == 1
    again, files = kept_files(tmp_path)
    at_once(files.restore("m", "f"))
    assert again.unpin(("m", "t"), [1, 2, 3])
    if evicted:
        again.trim(0)
    files.save_all()
    assert pins_after_a_restart(tmp_path) == 0
    assert len(files_in(tmp_path)) == (0 if evicted else 1)


def test_other_work_comes_between_any_two_files_that_are_read(tmp_path):
    write_kept(tmp_path, *([first] for first in range(5)))
    again, files = kept_files(tmp_path)
    known = [len(again) for _ in files.restore("m", "f")]
    # Five files are read, then their edges come into the tree, one in each slice.
    assert known == [0] * 5 + [1, 2, 3, 4, 5]


def test_a_model_that_goes_while_its_files_are_read_leaves_nothing(tmp_path):
    write_kept(tmp_path, *([first] for first in range(3)))
    again, files = kept_files(tmp_path)
    reading = files.restore("m", "f")
    for _ in range(3):
        next(reading)
    files.forget_model("m")
    assert at_once(reading) == len(again) == 0


def test_a_name_is_made_once_for_each_edge_that_is_written(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(kv_files, "name_of", lambda edge: made.append(edge) or name_of(edge))
    tree, files = kept_files(tmp_path)
    at_once(files.restore("m", "f"))
    for first in range(20):
        tree.insert(("m", "t"), [7, 8, 9, first], layers_of([7, 8, 9, first]))
    files.save_all()
    assert len(made) == len(tree) == 21
