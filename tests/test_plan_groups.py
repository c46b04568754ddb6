"""Grouped convolutions in plans: the truth, the same bits in every batch, no zeros in between."""

from __future__ import annotations

import numpy as np
import pytest
from test_plan_graphs import LANES, add_conv, assert_right, draw_images, random

from cnn_ext.graph import Graph
from cnn_ext.run.plan import Plan

# groups, and channels of a group: in, out
GROUPS = [
    (2, 1, 1), (2, 3, 5), (2, LANES, LANES), (2, 2, 2 * LANES), (3, 5, LANES + 1),
    (4, 3, LANES // 2), (8, 2, 4), (LANES, 1, 2), (LANES + 1, 2, 1), (2 * LANES, 1, 3),
    (3 * LANES, 4, 4), (5, 1, 7),
]  # fmt: skip


def grouped(groups: int, C: int, K: int, taps: int = 3) -> Graph:
    graph = Graph((groups * C, 6, 5))
    rng = np.random.default_rng(groups)
    pad = (taps // 2,) * 4
    weight = random(rng, groups * K, C, taps, taps)
    add_conv(graph, graph.input, weight, rng, groups=groups, padding=pad, stride=(1, 2))
    return graph


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize(("groups", "C", "K"), GROUPS)
def test_groups(groups: int, C: int, K: int, clip: bool) -> None:
    graph = grouped(groups, C, K)
    if clip:
        graph.add("clip", graph.output, low=0.0, high=1.0)
    assert_right(graph, draw_images(graph, False))


@pytest.mark.parametrize(("groups", "C", "K"), [(512, 2, 1), (256, 2, 4), (64, 4, 2 * LANES)])
def test_weights_of_groups_stay_small(groups: int, C: int, K: int) -> None:
    graph = grouped(groups, C, K, taps=1)
    file = sum(array.nbytes for node in graph.nodes for array in node.weights.values())
    # the weights, and blocks of LANES channels with zeros for the groups that share a block
    shared = max(1, LANES // K)
    assert Plan(graph).weights_bytes <= (1 + 2 * shared) * (file + 4 * groups * K)


def test_groups_of_whole_blocks_do_not_meet() -> None:
    graph = grouped(2, 3, LANES)
    plan, (image,) = Plan(graph), draw_images(graph, False, 1)
    before = plan(image)
    image[0] = np.nan
    after = plan(image)
    assert np.isnan(after[:LANES]).any()
    np.testing.assert_array_equal(after[LANES:], before[LANES:])
