"""Orders, cycles and groups, against what can be found by trying everything."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from crh_batch.plan.graph import dependents, groups, shortest_cycle, topological

Graph = dict[int, list[int]]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    count = draw(st.integers(0, 7))
    nodes = st.integers(0, max(count - 1, 0))
    return {node: draw(st.lists(nodes, max_size=3)) for node in range(count)}


def reachable(graph: Graph, node: int) -> set[int]:
    found: set[int] = set()
    while True:
        more = {source for one in (found | {node}) for source in graph[one]}
        if more <= found:
            return found
        found |= more


@given(graphs())
def test_topological_when_there_are_cycles_then_they_and_what_is_behind_them_are_left_out(graph: Graph) -> None:
    order = topological(graph)
    in_cycles = {node for node in graph if node in reachable(graph, node)}
    assert set(order) == {node for node in graph if not (reachable(graph, node) | {node}) & in_cycles}
    places = {node: place for place, node in enumerate(order)}
    assert all(places[source] < places[node] for node in order for source in graph[node])


@given(graphs())
def test_shortest_cycle_when_there_is_one_then_it_is_a_way_and_none_is_shorter(graph: Graph) -> None:
    for node in graph:
        way = shortest_cycle(graph, node)
        assert bool(way) == (node in reachable(graph, node))
        if way:
            assert way[0] == way[-1] == node
            assert all(later in graph[earlier] for earlier, later in itertools.pairwise(way))
            reached = {node}
            for _ in range(len(way) - 2):
                reached = {source for one in reached for source in graph[one]}
                assert node not in reached, "a shorter way"


@given(graphs())
def test_groups_when_connected_either_way_then_together(graph: Graph) -> None:
    found = groups(graph)
    assert sorted(node for group in found for node in group) == sorted(graph)
    group_of = {node: number for number, group in enumerate(found) for node in group}
    assert all(group_of[node] == group_of[source] for node in graph for source in graph[node])
    for group in found:
        inside = set(group)
        reached = {group[0]}
        while True:
            more = {node for node in inside for source in graph[node] if {node, source} & reached}
            more |= {source for node in inside for source in graph[node] if {node, source} & reached}
            if more <= reached:
                break
            reached |= more
        assert reached == inside, "nothing is together that is not connected"


def test_dependents_when_asked_then_each_once() -> None:
    assert dependents({0: [], 1: [0, 0], 2: [0, 1]}) == {0: [1, 2], 1: [2], 2: []}
