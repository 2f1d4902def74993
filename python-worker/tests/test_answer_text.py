"""Stop strings, whatever the cut of the text into tokens."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_worker.engine.answer_text import AnswerText

TEXT = st.text("abc", max_size=30)
STOPS = st.lists(st.text("abc", min_size=1, max_size=4), max_size=4).map(tuple)


class SegmentDetokenizer:
    """Its tokens are indices of segments of text."""

    def __init__(self, segments: list[str]) -> None:
        self._segments = segments
        self.last_segment = ""

    def add_token(self, token: int) -> None:
        self.last_segment = self._segments[token]

    def finalize(self) -> None:
        self.last_segment = ""


def until_stop(text: str, stop: tuple[str, ...]) -> str:
    """The text before the match that ends first."""
    ends = [(text.find(s) + len(s), text.find(s)) for s in stop if s in text]
    return text[: min(ends)[1]] if ends else text


def spoken(segments: list[str], stop: tuple[str, ...]) -> tuple[str, bool]:
    answer = AnswerText(SegmentDetokenizer(segments), stop)
    text = ""
    for token in range(len(segments)):
        text += answer.add(token)
        if answer.stopped:
            return text, True
    return text + answer.finish(), answer.stopped


@given(TEXT, STOPS, st.lists(st.integers(0, 30), max_size=8))
def test_the_text_ends_before_the_first_stop_however_it_is_cut(text, stop, cuts):
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    segments = [text[a:b] for a, b in pairwise(edges)]
    wanted = until_stop(text, stop)
    assert spoken(segments, stop) == (wanted, any(s in text for s in stop))


@pytest.mark.parametrize(
    ("segments", "stop", "text"),
    [
        (["Hello", " wor", "ld", "!"], ("world",), "Hello "),
        (["a", "a", "b"], ("aab",), ""),
        (["Hello", " wor", "k"], ("world",), "Hello work"),
        (["ab", "c"], ("abc", "b"), "a"),
    ],
)
def test_a_stop_string_across_tokens(segments, stop, text):
    assert spoken(segments, stop)[0] == text


def test_text_that_cannot_become_a_stop_string_is_not_held_back():
    answer = AnswerText(SegmentDetokenizer(["free", " st"]), ("stop",))
    assert (answer.add(0), answer.add(1)) == ("free", " ")
