"""The tree of kept KV, against a plain list of what was put in."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_worker.engine.prefix_tree import PrefixTree

PROMPTS = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=12), min_size=1, max_size=25)


def layers_of(tokens: list[int], owner: int = 0):
    """Two layers whose values say which tokens lead to each position."""
    marks = [hash((owner, *tokens[: at + 1])) % 1000 for at in range(len(tokens))]
    keys = mx.array(marks, dtype=mx.float32).reshape(1, 1, -1, 1) * mx.ones((1, 2, 1, 4))
    return [(keys + layer, -keys - layer) for layer in range(2)]


def shared(first: list[int], second: list[int]) -> int:
    return next(
        (at for at, (a, b) in enumerate(zip(first, second, strict=False)) if a != b),
        min(len(first), len(second)),
    )


def assert_holds(tree: PrefixTree, scope: str, tokens: list[int], length: int, owner: int = 0) -> None:
    match = tree.match(scope, tokens)
    assert match.length == length == tree.known_length(scope, tokens)
    if length:
        wanted = layers_of(tokens, owner)
        for (keys, values), (own_keys, own_values) in zip(match.layers(length, 3), wanted, strict=True):
            assert np.array_equal(np.array(keys)[:, :, :length], np.array(own_keys)[:, :, :length])
            assert np.array_equal(np.array(values)[:, :, :length], np.array(own_values)[:, :, :length])


@given(PROMPTS)
@settings(max_examples=60, deadline=None)
def test_any_shared_beginning_is_found_with_its_own_values(prompts):
    tree = PrefixTree(2**30)
    for at, prompt in enumerate(prompts):
        assert_holds(tree, "x", prompt, max((shared(prompt, known) for known in prompts[:at]), default=0))
        assert tree.insert("x", prompt, layers_of(prompt))
    for prompt in prompts:
        assert_holds(tree, "x", prompt, len(prompt))
    distinct = {tuple(prompt[: at + 1]) for prompt in prompts for at in range(len(prompt))}
    # Each position is kept once: 2 layers of keys and values, 2 heads of 4 floats.
    assert tree.nbytes == len(distinct) * 2 * 2 * 2 * 4 * 4


@given(PROMPTS, st.integers(0, 3000))
@settings(max_examples=60, deadline=None)
def test_the_byte_budget_holds_and_what_is_left_is_right(prompts, budget):
    tree = PrefixTree(budget)
    for prompt in prompts:
        tree.insert("x", prompt, layers_of(prompt), logits=mx.zeros((1, 5)))
        assert tree.nbytes <= budget
        assert tree.nbytes == sum(edge.nbytes for edge in tree.edges())
        assert len(tree) == len(list(tree.edges()))
    for prompt in prompts:
        assert_holds(tree, "x", prompt, tree.known_length("x", prompt))


def test_scopes_see_nothing_of_each_other():
    tree = PrefixTree(2**30)
    tree.insert("a", [1, 2, 3], layers_of([1, 2, 3], owner=1), logits=mx.ones((1, 5)))
    assert_holds(tree, "b", [1, 2, 3], 0)
    tree.insert("b", [1, 2, 3], layers_of([1, 2, 3], owner=2))
    assert_holds(tree, "a", [1, 2, 3], 3, owner=1)
    assert_holds(tree, "b", [1, 2, 3], 3, owner=2)
    assert tree.match("b", [1, 2, 3]).logits is None
    tree.drop(["a"])
    assert_holds(tree, "a", [1, 2, 3], 0)
    assert_holds(tree, "b", [1, 2, 3], 3, owner=2)


def test_the_longest_unused_goes_first_and_pins_stay():
    tree = PrefixTree(3 * 3 * 128)
    tree.insert("x", [1, 1, 1], layers_of([1, 1, 1]), pin=True)
    tree.insert("x", [2, 2, 2], layers_of([2, 2, 2]))
    tree.insert("x", [3, 3, 3], layers_of([3, 3, 3]))
    tree.match("x", [2, 2, 2])
    tree.insert("x", [4, 4, 4], layers_of([4, 4, 4]))
    known = [tree.known_length("x", [first] * 3) for first in (1, 2, 3, 4)]
    assert known == [3, 3, 0, 3]
    assert tree.unpin("x", [1, 1, 1])
    assert not tree.unpin("x", [1, 1, 1])
    tree.trim(0)
    assert (tree.nbytes, len(tree), tree.scopes()) == (0, 0, [])


def test_logits_belong_to_exactly_their_prompt():
    tree = PrefixTree(2**30)
    tree.insert("x", [1, 2, 3, 4], layers_of([1, 2, 3, 4]), logits=mx.array([[4.0]]))
    tree.insert("x", [1, 2], layers_of([1, 2]), logits=mx.array([[2.0]]))
    assert tree.match("x", [1, 2]).logits.item() == 2
    assert tree.match("x", [1, 2, 3]).logits is None
    assert tree.match("x", [1, 2, 3, 4]).logits.item() == 4
    assert tree.match("x", [1, 2, 3, 4, 5]).logits is None
    tree.forget_logits()
    assert tree.match("x", [1, 2]).logits is None


def test_what_was_handed_out_stays_when_its_edge_goes():
    tree = PrefixTree(2**30)
    tree.insert("x", [1, 2, 3], layers_of([1, 2, 3]))
    layers = tree.match("x", [1, 2, 3]).layers(3, 0)
    tree.trim(0)
    assert np.array_equal(np.array(layers[0][0])[:, :, :3], np.array(layers_of([1, 2, 3])[0][0]))


@given(PROMPTS, st.lists(st.booleans(), min_size=25, max_size=25))
@settings(max_examples=60, deadline=None)
def test_pins_are_counted_and_each_prompts_pin_is_its_own(prompts, pins):
    tree, pinned = PrefixTree(2**30), set()
    for prompt, pin in zip(prompts, pins, strict=False):
        tree.insert("x", prompt, layers_of(prompt), pin=pin)
        pinned |= {tuple(prompt)} if pin else set()
        assert tree.pinned == len(pinned) == sum(edge.pinned for edge in tree.edges())
    for prompt in prompts:
        held = max((shared(prompt, list(other)) for other in pinned), default=0)
        # An edge is held as a whole: what of it is the prompt's may be more than what any pin needs.
        assert tree.held_length("x", prompt) >= held
    beginnings = {tuple(prompt[:at]) for prompt in prompts for at in range(1, len(prompt) + 1)}
    for beginning in sorted(beginnings):
        assert tree.unpin("x", beginning) is (beginning in pinned)
        pinned.discard(beginning)
        assert tree.pinned == len(pinned)
    tree.trim(0)
    assert (len(tree), tree.nbytes, tree.pinned) == (0, 0, 0)


def test_what_is_pinned_of_a_prompt_is_held_and_no_more():
    tree = PrefixTree(2**30)
    tree.insert("x", [1, 2, 3, 4], layers_of([1, 2, 3, 4]), pin=True)
    tree.insert("x", [1, 2, 9, 9], layers_of([1, 2, 9, 9]))
    assert [tree.held_length("x", tokens) for tokens in ([1, 2, 3, 4, 5], [1, 2, 9, 9], [1], [8])] == [
        4,
        2,
        1,
        0,
    ]
    tree.drop(["x"])
    assert (len(tree), tree.pinned, tree.held_length("x", [1])) == (0, 0, 0)
