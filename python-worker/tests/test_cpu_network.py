"""The layers for Linux CPUs: the network's own results, and no change where they would differ."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlx_lm.models import llama
from mlx_lm.models.cache import make_prompt_cache

from mlx_worker.cpu_network.attention import CpuAttention, attend
from mlx_worker.cpu_network.feed_forward import silu
from mlx_worker.cpu_network.last_token import last_parts, only_last
from mlx_worker.cpu_network.rewrite import rewrite
from mlx_worker.cpu_network.shared_pass import shares_passes
from mlx_worker.engine.forward import Forward

PROMPT = [[(index * 37) % 61 for index in range(150)]]


def make_network(seed: int = 3, **changes: Any) -> Any:
    arguments = {
        "model_type": "llama",
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "intermediate_size": 48,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-5,
        "vocab_size": 61,
    } | changes
    mx.random.seed(seed)
    network = llama.Model(llama.ModelArgs.from_dict(arguments))
    mx.eval(network.parameters())
    return network


def answers(network: Any) -> list[mx.array]:
    caches = make_prompt_cache(network)
    return [network(mx.array(PROMPT), cache=caches), network(mx.array([[7]]), cache=caches)]


@pytest.mark.parametrize(
    "changes", [{}, {"attention_bias": True, "mlp_bias": True}, {"tie_word_embeddings": False}]
)
def test_a_rewritten_network_gives_the_same_logits(changes: dict[str, Any]) -> None:
    network = make_network(**changes)
    before = answers(network)
    mx.eval(before)
    assert rewrite(network) == 4
    assert isinstance(network.layers[0].self_attn, CpuAttention)
    for own, rewritten in zip(before, answers(network), strict=True):
        assert mx.allclose(own, rewritten, rtol=1e-4, atol=1e-5).item()


class OddAttention(llama.Attention):
    """Looks like Llama's, and is not."""

    def __call__(self, x: mx.array, mask: Any = None, cache: Any = None) -> mx.array:
        return 2 * super().__call__(x, mask, cache)


def test_a_network_that_would_answer_otherwise_stays_as_it_is() -> None:
    network = make_network()
    for layer in network.layers:
        weights = layer.self_attn.parameters()
        layer.self_attn = OddAttention(network.args)
        layer.self_attn.update(weights)
    before = answers(network)
    assert rewrite(network) == 0
    assert isinstance(network.layers[0].self_attn, OddAttention)
    assert isinstance(network.layers[0].mlp, llama.MLP)
    assert all(mx.array_equal(a, b).item() for a, b in zip(before, answers(network), strict=True))


def test_quantized_layers_are_left_alone() -> None:
    network = make_network()
    nn.quantize(network, group_size=32, bits=8, class_predicate=lambda path, module: path.endswith("up_proj"))
    assert rewrite(network) == 2
    assert isinstance(network.layers[0].mlp, llama.MLP)
    assert isinstance(network.layers[0].self_attn, CpuAttention)


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(1, 3),
    groups=st.integers(1, 3),
    shared=st.integers(1, 3),
    before=st.integers(0, 70),
    tokens=st.one_of(st.integers(1, 5), st.integers(60, 200)),
    masked=st.booleans(),
    scale=st.floats(0.05, 5),
    seed=st.integers(0, 1000),
)
def test_attention_is_mlx_own(
    rows: int, groups: int, shared: int, before: int, tokens: int, masked: bool, scale: float, seed: int
) -> None:
    mx.random.seed(seed)
    queries = mx.random.normal((rows, groups * shared, tokens, 8))
    keys = mx.random.normal((rows, groups, before + tokens, 8))
    values = mx.random.normal((rows, groups, before + tokens, 8))
    mask: Any = "causal" if tokens > 1 else None
    if masked and tokens == 1 and before:
        padding = mx.arange(rows)[:, None, None, None] % (before + 1)
        mask = mx.arange(before + 1)[None, None, None] >= padding
    own = mx.fast.scaled_dot_product_attention(queries, keys, values, scale=scale, mask=mask)
    assert mx.allclose(attend(queries, keys, values, None, scale, mask), own, rtol=1e-3, atol=1e-4).item()


def test_silu_is_mlx_own_even_where_it_saturates() -> None:
    numbers = mx.concatenate(
        [mx.linspace(-30, 30, 2001), mx.array([-1e4, -200.0, -88.0, 0.0, 88.0, 200.0, 1e4])]
    )
    assert mx.allclose(silu(numbers), nn.silu(numbers), rtol=1e-5, atol=1e-6).item()


@settings(deadline=None, max_examples=25)
@given(
    before=st.integers(0, 80),
    piece=st.integers(1, 70),
    rows=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    tied=st.booleans(),
)
def test_a_piece_of_a_prompt_and_rows_have_in_one_pass_what_they_have_alone(
    before: int, piece: int, rows: list[int], tied: bool
) -> None:
    network = make_network(tie_word_embeddings=tied)
    rewrite(network)
    forward = Forward(network)
    assert forward.shares
    results = []
    for shared in (False, True):
        prompt, tokens = make_prompt_cache(network), PROMPT[0]
        if before:
            forward.fill(tokens[:before], prompt)
        alone = [make_prompt_cache(network) for _ in rows]
        for caches, length in zip(alone, rows, strict=True):
            forward.fill(tokens[-length:], caches)
        batch = [layer[0].merge(list(layer)) for layer in zip(*alone, strict=True)]
        inputs = mx.arange(len(rows)) + 5
        some = tokens[before : before + piece]
        if shared:
            logits = forward.shared(some, prompt, inputs, batch)
        else:
            forward.fill(some, prompt)
            logits = network(inputs[:, None], cache=batch)[:, -1]
        after = forward.last_logits([3], prompt)
        again = network(inputs[:, None], cache=batch)[:, -1]
        results.append(mx.concatenate([logits, after, again]))
    assert results[0].shape == (2 * len(rows) + 1, 61)
    assert mx.allclose(results[0], results[1], rtol=1e-4, atol=1e-5).item()


def test_a_network_whose_attention_is_its_own_shares_no_pass() -> None:
    network = make_network()
    assert not shares_passes(network)
    rewrite(network)
    assert shares_passes(network)
    network.model.layers[1].self_attn = OddAttention(network.args)
    assert not shares_passes(network)


def test_a_network_that_would_answer_otherwise_shares_no_pass() -> None:
    network = make_network()
    rewrite(network)
    body, whole = network.model, type(network.model).__call__

    class Placed(type(body)):
        """Adds to each token what depends on its place in the pass."""

        def __call__(self, inputs: mx.array, cache: Any = None) -> mx.array:
            return whole(self, inputs, cache=cache) + mx.arange(inputs.shape[1])[:, None]

    body.__class__ = Placed
    assert not shares_passes(network)


@pytest.mark.parametrize("pieces", [(1,), (9,), (150,), (70, 1), (70, 80), (64, 64, 22)])
def test_the_end_of_a_prompt_has_the_logits_of_the_whole_network(pieces: tuple[int, ...]) -> None:
    own, network = make_network(), make_network()
    rewrite(network)
    forward = Forward(network)
    assert len(last_parts(network)) == 2
    caches, tokens = (make_prompt_cache(own), make_prompt_cache(network)), PROMPT[0][: sum(pieces)]
    expected = own(mx.array([tokens]), cache=caches[0])[:, -1]
    at = 0
    for piece in pieces[:-1]:
        forward.fill(tokens[at : at + piece], caches[1])
        at += piece
    last = forward.last_logits(tokens[at:], caches[1])
    assert mx.allclose(last, expected, rtol=1e-4, atol=1e-5).item()
    expected, after = own(mx.array([[9]]), cache=caches[0]), network(mx.array([[9]]), cache=caches[1])
    assert mx.allclose(after, expected, rtol=1e-4, atol=1e-5).item()


def test_a_network_that_looks_at_more_than_the_last_token_is_computed_whole() -> None:
    network = make_network()
    rewrite(network)
    body, whole = network.model, type(network.model).__call__

    class Summed(type(body)):
        """Adds to each token what came out for those before it."""

        def __call__(self, inputs: mx.array, cache: Any = None) -> mx.array:
            return mx.cumsum(whole(self, inputs, cache=cache), axis=1)

    body.__class__ = Summed
    assert last_parts(network) == []


def test_after_a_fault_all_tokens_count_again() -> None:
    network = make_network()
    rewrite(network)
    parts = last_parts(network)
    with suppress(ZeroDivisionError), only_last(parts):
        assert all(part.only_last for part in parts)
        raise ZeroDivisionError
    assert not any(part.only_last for part in parts)
