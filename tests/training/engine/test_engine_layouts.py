"""Layouts: under any stage every element is held, once over all processes, and found again."""

import math

import pytest

torch = pytest.importorskip("torch")

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.training.engine.layouts import Layout, Span, common

SHAPE = st.lists(st.integers(1, 4), max_size=3).map(tuple)
SHAPES = st.lists(st.lists(SHAPE, min_size=1, max_size=4), min_size=1, max_size=3).map(
    lambda groups: [{f"{g}.{n}": s for n, s in enumerate(group)} for g, group in enumerate(groups)]
)


def held(layout):
    """What every process holds: its spans, for parts of stages 1 and 2 of equal sizes."""
    sizes = []
    if layout.zero in (1, 2):
        totals = [sum(math.prod(s) for s in group.values()) for group in layout.shapes]
        sizes = [-(-total // layout.ranks) + 1 for total in totals]
    return [layout.spans(rank, sizes) for rank in range(layout.ranks)]


@settings(deadline=None)
@given(SHAPES, st.integers(1, 5), st.sampled_from((1, 2, 3)))
def test_all_processes_together_hold_every_element_once(shapes, ranks, zero):
    found = {}
    for spans in held(Layout(zero, ranks, shapes)):
        filled = sorted((p.slot, p.start, p.start + p.count) for p in spans)
        for (slot, _, end), (other, start, _) in itertools.pairwise(filled):
            assert slot != other or end <= start
        for span in spans:
            found.setdefault(span.name, []).extend(range(span.begin, span.begin + span.count))
    sizes = {name: math.prod(shape) for group in shapes for name, shape in group.items()}
    assert {name: sorted(each) for name, each in found.items()} == {
        name: list(range(size)) for name, size in sizes.items()
    }


@settings(deadline=None)
@given(SHAPES, st.integers(1, 5))
def test_without_zero_every_process_holds_everything(shapes, ranks):
    names = [name for group in shapes for name in group]
    for spans in held(Layout(0, ranks, shapes)):
        assert [(p.name, p.slot) for p in spans] == [(n, slot) for slot, n in enumerate(names)]


def test_what_two_spans_have_in_common_lies_in_both():
    one, other = Span("a", 2, 6, 0, 10), Span("a", 4, 9, 1, 3)
    assert common(one, other) == (slice(12, 16), slice(3, 7))
    assert common(other, one) == (slice(3, 7), slice(12, 16))
    assert common(one, Span("a", 8, 1, 0, 0)) is None
    assert common(one, Span("b", 2, 6, 0, 10)) is None
