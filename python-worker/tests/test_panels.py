"""Weights in panels: the same products for a few rows, kept only where they pay and as far as memory goes."""

from __future__ import annotations

import asyncio
import sys

import mlx.core as mx
import mlx.nn as nn
import mlx_lm
import pytest
from conftest import Reference, running_worker
from hypothesis import given, settings
from hypothesis import strategies as st
from make_bench_model import make
from mlx.utils import tree_flatten
from test_cpu_network import answers, make_network

from mlx_worker.cpu_network import rewrite as rewriting
from mlx_worker.cpu_network.linear import SHORT_PROMPT, SMALL_PRODUCT, PackedLinear
from mlx_worker.cpu_network.rewrite import rewrite
from mlx_worker.gen.mlx_serving.v1 import worker_pb2 as wpb

WIDE = {"hidden_size": 256, "intermediate_size": 512}


def layers_with_panels(network) -> list[PackedLinear]:
    modules = [module for layer in network.layers for module in layer.modules()]
    return [module for module in modules if isinstance(module, PackedLinear) and module.most_rows]


@pytest.fixture(autouse=True)
def no_trial_by_time(monkeypatch):
    monkeypatch.setattr(rewriting, "panels_pay", lambda linear: True)


@settings(deadline=None, max_examples=60)
@given(
    inputs=st.sampled_from([256, 512, 1408, 3000]),
    outputs=st.sampled_from([256, 320, 1408]),
    shape=st.lists(st.integers(1, 12), min_size=1, max_size=2),
    biased=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_a_product_in_panels_is_the_product(
    inputs: int, outputs: int, shape: list[int], biased: bool, seed: int
) -> None:
    mx.random.seed(seed)
    linear = nn.Linear(inputs, outputs, bias=biased)
    packed = PackedLinear(linear)
    assert packed.width is not None
    packed.add_panels(packed.width)
    x = mx.random.normal((*shape, inputs))
    assert mx.allclose(packed(x), linear(x), rtol=1e-4, atol=1e-4).item()


@pytest.mark.parametrize("inputs", [256, 512, 781, 1408, 3125])
def test_a_panel_is_so_wide_that_a_short_prompt_goes_through_it(inputs):
    linear = PackedLinear(nn.Linear(inputs, 64 * 20))
    linear.add_panels(linear.width)
    assert linear.most_rows >= SHORT_PROMPT
    assert linear.most_rows * inputs * linear.width <= SMALL_PRODUCT


@pytest.mark.parametrize(("inputs", "outputs"), [(128, 384), (512, 100), (4096, 4096)])
def test_weights_that_are_small_or_odd_or_too_long_have_no_panels(inputs, outputs):
    assert PackedLinear(nn.Linear(inputs, outputs)).width is None


def test_a_network_with_panels_gives_the_same_logits():
    network = make_network(**WIDE)
    before = answers(network)
    mx.eval(before)
    assert rewrite(network) == 4
    assert len(layers_with_panels(network)) == 2 * 5
    for own, rewritten in zip(before, answers(network), strict=True):
        assert mx.allclose(own, rewritten, rtol=1e-4, atol=1e-5).item()


def test_panels_that_are_no_faster_are_not_kept(monkeypatch):
    plain = make_network(**WIDE)
    bytes_of = sum(value.nbytes for _, value in tree_flatten(plain.parameters()))
    monkeypatch.setattr(rewriting, "panels_pay", lambda linear: False)
    assert rewrite(plain) == 4
    assert layers_with_panels(plain) == []
    assert sum(value.nbytes for _, value in tree_flatten(plain.parameters())) == bytes_of


def test_panels_take_no_more_memory_than_they_may(monkeypatch):
    network = make_network(**WIDE)
    monkeypatch.setattr(rewriting, "PANEL_BYTES", 3 * 4 * 256 * 512)
    assert rewrite(network) == 4
    kept = layers_with_panels(network)
    assert 0 < len(kept) < 10
    assert sum(linear.panels.nbytes for linear in kept) <= 3 * 4 * 256 * 512


linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only layers for Linux CPUs have panels")


@linux_only
@pytest.mark.parametrize("bound", ["memory_limit_bytes", "model_bytes"])
async def test_panels_leave_requests_and_other_models_their_memory(tmp_path, bound):
    make(tmp_path / "wide", 2, 256, 7)
    on_disk = (tmp_path / "wide" / "model.safetensors").stat().st_size
    # Half of the memory limit is for weights, all of the models' budget is.
    exactly = on_disk * 2 if bound == "memory_limit_bytes" else on_disk
    for most, panels in ((exactly, False), (exactly * 2, True)):
        async with running_worker(model=str(tmp_path / "wide"), **{bound: most}) as worker:
            model = worker.app.lifecycle.model
            assert bool(layers_with_panels(model.network)) is panels
            assert model.weight_bytes <= exactly * (2 if panels else 1)
            assert (await worker.generate("A flag", max_tokens=3)).ids


@linux_only
async def test_a_memory_limit_that_is_lowered_takes_the_panels_before_requests_are_refused(tmp_path):
    make(tmp_path / "wide", 2, 256, 7)
    on_disk = (tmp_path / "wide" / "model.safetensors").stat().st_size
    async with running_worker(model=str(tmp_path / "wide")) as worker:
        network = worker.app.lifecycle.model.network
        assert layers_with_panels(network)
        before = await worker.generate("A flag", max_tokens=12)
        await worker.stub.SetLimits(wpb.SetLimitsRequest(memory_limit_bytes=int(on_disk * 1.5)))
        (info,) = (await worker.stub.ListModels(wpb.WorkerListModelsRequest())).models
        assert (layers_with_panels(network), info.weight_bytes <= on_disk) == ([], True)
        assert (await worker.generate("A flag", max_tokens=12)).ids == before.ids


@linux_only
async def test_answers_through_panels_are_those_of_stream_generate(tmp_path):
    make(tmp_path / "wide", 2, 256, 7)
    network, tokenizer = mlx_lm.load(str(tmp_path / "wide"))
    reference = Reference(network, tokenizer)
    prompts = [
        "A flag",
        "# ",
        *(f"{count} " + "a canary of the gateway " * count for count in range(1, 30, 2)),
    ]
    expected = [reference.generate(prompt, 24)[0] for prompt in prompts]
    flags = ["ttft_pipeline.warmup_queue", "ttft_pipeline.speculation", "ttft_pipeline.kv_prep"]
    async with running_worker(model=str(tmp_path / "wide"), max_batch=6, prefill_chunk=40) as worker:
        assert layers_with_panels(worker.app.lifecycle.model.network)
        for request in ({}, {"enabled_flags": flags}, {"enabled_flags": flags}):
            calls = [worker.generate(prompt, max_tokens=24, request=request) for prompt in prompts]
            assert [answer.ids for answer in await asyncio.gather(*calls)] == expected
