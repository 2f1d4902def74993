"""Models whose caches cannot be cut: whole states, reused and pinned at their ends only."""

from __future__ import annotations

import mlx.core as mx
import pytest
from mlx.utils import tree_flatten
from mlx_lm.models import mamba
from mlx_lm.models.llama import Model, ModelArgs

from mlx_worker.engine.prefix_cache import PrefixCache, can_be_cut


def sliding_model() -> Model:
    """A network with rotating caches."""
    layers = ["sliding_attention", "full_attention"]
    return Model(
        ModelArgs(
            "llama", 32, 2, 64, 4, 1e-5, 97, num_key_value_heads=2, layer_types=layers, sliding_window=8
        )
    )


def state_space_model() -> mamba.Model:
    """A network whose caches hold a state in place of keys and values."""
    return mamba.Model(
        mamba.ModelArgs("mamba", 97, 32, 64, 8, 2, 4, use_bias=False, use_conv_bias=True, time_step_rank=4)
    )


@pytest.mark.parametrize("make", [sliding_model, state_space_model])
def test_caches_that_cannot_be_cut_are_reused_at_their_ends_only(make):
    mx.random.seed(1)
    network = make()
    mx.eval([value for _, value in tree_flatten(network.parameters())])
    assert not can_be_cut(network)
    kept = PrefixCache(2**20)
    first = [5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]
    caches = network.make_cache()
    logits = network(mx.array([first]), cache=caches)[:, -1, :]
    assert kept.keep(False, "m", "", first, caches, logits=logits)
    network(mx.array([[1, 2, 3]]), cache=caches)  # Goes on in place; what is kept must not see it.
    assert kept.find(False, "m", "", first[:6], True) is None
    assert kept.find(False, "m", "", [*first[:-1], 90, 91], True) is None
    whole = kept.find(False, "m", "", first, True)
    assert whole is not None
    assert mx.array_equal(whole.logits, logits)
    longer = kept.find(False, "m", "", [*first, 20, 21], True)
    assert longer is not None
    assert longer.length == len(first)
    cold = network(mx.array([[*first, 20, 21]]), cache=network.make_cache())[:, -1, :]
    for _ in range(2):
        reused = kept.find(False, "m", "", [*first, 20, 21], True)
        warm = network(mx.array([[20, 21]]), cache=reused.caches)[:, -1, :]
        assert mx.allclose(warm, cold, atol=1e-4)
    kept.drop_model("m")
    assert (kept.entries, kept.nbytes) == (0, 0)


def test_a_pinned_state_stays_until_its_pin_is_taken_away():
    mx.random.seed(1)
    network = sliding_model()
    kept, caches, tokens = PrefixCache(10**6), network.make_cache(), [5, 6, 7, 8]
    network(mx.array([tokens]), cache=caches)
    assert kept.keep(False, "m", "", tokens, caches, pin=True)
    assert (kept.pinned, kept.held_length(False, "m", "", tokens)) == (1, 4)
    for other in (tokens[:3], [*tokens, 9], [1, 2, 3, 4]):
        assert kept.held_length(False, "m", "", other) == 0
        assert not kept.unpin(False, "m", "", other)
    assert not kept.unpin(False, "m", "another tenant", tokens)
    kept.trim(0)
    assert (kept.entries, kept.pinned_bytes == kept.nbytes > 0) == (1, True)
    assert kept.unpin(False, "m", "", tokens)
    assert not kept.unpin(False, "m", "", tokens)
    assert (kept.entries, kept.pinned, kept.pinned_bytes) == (1, 0, 0)
    kept.trim(0)
    assert (kept.entries, kept.nbytes) == (0, 0)


def test_a_state_that_is_kept_again_and_one_whose_model_goes_are_counted_once():
    kept, network = PrefixCache(10**6), sliding_model()
    for tokens in ([5, 6], [5, 6], [7, 8]):
        caches = network.make_cache()
        network(mx.array([tokens]), cache=caches)
        kept.keep(False, "m", "", tokens, caches, pin=True)
    assert (kept.entries, kept.pinned) == (2, 2)
    kept.drop_model("m")
    assert (kept.entries, kept.pinned, kept.nbytes) == (0, 0, 0)
