"""Models that are loaded while others answer, and LoRA adapters."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path

import grpc
import mlx.core as mx
import mlx_lm
import pytest
from conftest import GATED, Reference, StepGate, running_worker
from mlx.utils import tree_flatten
from mlx_lm.tuner.utils import linear_to_lora_layers
from test_never_dead import copy_of_tiny

from mlx_worker import model as model_module
from mlx_worker.engine import engine as engine_module
from mlx_worker.engine import served_model
from mlx_worker.fingerprint import fingerprint_of
from mlx_worker.gen.mlx_serving.v1 import worker_pb2 as wpb
from mlx_worker.model import PACKAGED_MODELS

TINY = str(PACKAGED_MODELS / "tiny")
PROMPT = "A kill switch turns a feature off at once, for everybody. " * 4
KV = {"enabled_flags": ["ttft_pipeline.kv_prep"]}
LORA = {"rank": 4, "scale": 8.0, "dropout": 0.0, "keys": ["self_attn.q_proj", "mlp.down_proj"]}


def make_adapter(folder: Path, seed: int = 1, **changes) -> str:
    """A LoRA adapter for the packaged model, with random weights."""
    parameters = LORA | changes
    network, _ = mlx_lm.load(TINY)
    linear_to_lora_layers(network, 2, parameters)
    mx.random.seed(seed)
    weights = {
        name: mx.random.normal(value.shape) * 0.05
        for name, value in tree_flatten(network.parameters())
        if name.endswith(("lora_a", "lora_b"))
    }
    folder.mkdir()
    mx.save_safetensors(str(folder / "adapters.safetensors"), weights)
    about = {"fine_tune_type": "lora", "num_layers": 2, "lora_parameters": parameters}
    (folder / "adapter_config.json").write_text(json.dumps(about))
    return str(folder)


def with_adapter(adapter: str) -> Reference:
    """mlx_lm alone with the adapter, in float32 as the worker has it."""
    network, tokenizer = mlx_lm.load(TINY, adapter_path=adapter)
    network.set_dtype(mx.float32)
    return Reference(network, tokenizer)


async def load(worker, model: str, **fields) -> wpb.LoadModelResponse:
    return await worker.stub.LoadModel(wpb.LoadModelRequest(model=model, **fields))


async def test_a_running_stream_gets_a_token_between_any_two_slices_of_a_load(tmp_path, monkeypatch):
    gate, draws = StepGate(), []
    read, in_slices = engine_module.read_files, served_model.load_in_slices

    def reading(*arguments):
        # The engine's thread waits for a permit to draw meanwhile: this one is another.
        files = read(*arguments)
        gate.open()
        return files

    def noting(*arguments):
        slices = in_slices(*arguments)
        while True:
            draws.append(gate.draws_begun)
            try:
                yield next(slices)
            except StopIteration as end:
                return end.value

    second = copy_of_tiny(tmp_path / "second")
    async with running_worker(gate.make_sampler) as worker:
        monkeypatch.setattr(engine_module, "read_files", reading)
        monkeypatch.setattr(served_model, "load_in_slices", noting)
        monkeypatch.setattr(model_module, "SLICE_BYTES", 1)
        running = worker.call("A flag", **GATED)
        assert (await running.read()).WhichOneof("event") == "accepted"
        gate.permit(1)
        assert (await running.read()).WhichOneof("event") == "chunk"
        loaded = await load(worker, second)
        assert loaded.model.id == "second"
        assert (await running.read()).WhichOneof("event") == "chunk"
        running.cancel()
    assert len(draws) > 10
    assert draws == sorted(set(draws))


async def test_files_are_read_where_they_keep_no_process_from_ending(tmp_path, monkeypatch):
    read, threads = engine_module.read_files, []

    def noting(*arguments):
        threads.append(threading.current_thread())
        return read(*arguments)

    monkeypatch.setattr(engine_module, "read_files", noting)
    async with running_worker() as worker:
        await load(worker, copy_of_tiny(tmp_path / "second"))
    assert [thread.daemon for thread in threads] == [True]


async def test_a_model_that_is_unloaded_while_its_kept_prompts_are_read_is_not_said_to_be_loaded(
    tmp_path, monkeypatch
):
    async with running_worker() as worker:
        engine = worker.app.engine

        def meanwhile(model):
            yield
            engine._models.unload(model.id, frozenset())

        monkeypatch.setattr(engine, "_restore", meanwhile)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await load(worker, copy_of_tiny(tmp_path / "second"))
        assert dict(caught.value.trailing_metadata())["reason"] == "MODEL_NOT_FOUND"
        models = (await worker.stub.ListModels(wpb.WorkerListModelsRequest())).models
        assert [model.id for model in models] == ["tiny"]


async def test_loads_at_the_same_time_are_done_one_after_the_other(tmp_path):
    names = [copy_of_tiny(tmp_path / name) for name in ("one", "two", "three")]
    async with running_worker() as worker:
        loaded = await asyncio.gather(*(load(worker, name) for name in [*names, *names]))
        assert {answer.model.id for answer in loaded} == {"one", "two", "three"}
        models = (await worker.stub.ListModels(wpb.WorkerListModelsRequest())).models
        assert sorted(model.id for model in models) == ["one", "three", "tiny", "two"]


async def test_a_model_answers_with_its_adapter_as_mlx_lm_does(tmp_path, reference):
    adapter = make_adapter(tmp_path / "adapter")
    wanted = with_adapter(adapter).generate(PROMPT, 16)[0]
    async with running_worker(adapter=adapter) as worker:
        for _ in range(2):
            answer = await worker.generate(PROMPT, max_tokens=16, request=KV)
            assert answer.ids == wanted != reference.generate(PROMPT, 16)[0]
        models = (await worker.stub.ListModels(wpb.WorkerListModelsRequest())).models
        assert [model.adapter for model in models] == [adapter]


async def test_another_adapter_replaces_the_model_and_drops_what_was_kept(tmp_path, reference):
    second = copy_of_tiny(tmp_path / "second")
    adapters = [make_adapter(tmp_path / name, seed) for name, seed in (("a", 1), ("b", 2))]
    async with running_worker() as worker:
        # By its folder first, by its name then; without an adapter last.
        for name, adapter in ((second, adapters[0]), ("second", adapters[1]), ("second", "")):
            loaded = await load(worker, name, adapter=adapter)
            assert (loaded.model.adapter, list(loaded.unloaded)) == (adapter, [])
            wanted = (with_adapter(adapter) if adapter else reference).generate(PROMPT, 16)[0]
            for known in (False, True):
                answer = await worker.generate(PROMPT, model="second", max_tokens=16, request=KV)
                assert answer.ids == wanted
                assert (answer.finished.usage.cached_prompt_tokens > 0) is known
            assert (await load(worker, "second", pin=True)).model.adapter == adapter


async def test_an_adapter_that_cannot_be_had_changes_nothing(tmp_path, reference):
    async with running_worker() as worker:
        second = copy_of_tiny(tmp_path / "second")
        await load(worker, second)
        misfit = make_adapter(tmp_path / "misfit")
        weights = mx.load(str(tmp_path / "misfit" / "adapters.safetensors"))
        wider = {name: mx.zeros((*weight.shape, 2)) for name, weight in weights.items()}
        mx.save_safetensors(str(tmp_path / "misfit" / "adapters.safetensors"), wider)
        for model, adapter, reason in (
            ("second", str(tmp_path / "none"), "MODEL_NOT_LOADED"),
            ("second", misfit, "MODEL_NOT_LOADED"),
            ("tiny", make_adapter(tmp_path / "fit"), "MODEL_IN_USE"),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await load(worker, model, adapter=adapter)
            assert dict(caught.value.trailing_metadata())["reason"] == reason
        answer = await worker.generate(PROMPT, model="second", max_tokens=12)
        assert answer.ids == reference.generate(PROMPT, 12)[0]


def test_adapters_that_differ_in_strength_alone_have_other_fingerprints(tmp_path):
    prints = set()
    for name, scale in (("weak", 8.0), ("strong", 16.0), ("again", 8.0)):
        network, tokenizer = mlx_lm.load(TINY, adapter_path=make_adapter(tmp_path / name, scale=scale))
        prints.add(fingerprint_of(network, tokenizer))
    assert len(prints) == 2
