"""What comes after what: orders, cycles and chains of things that take something of others. Pure.

A graph is a mapping from each node to the nodes that it takes something of; those must be keys too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import TypeVar

Node = TypeVar("Node")
Graph = Mapping[Node, Sequence[Node]]


def topological(graph: Graph[Node]) -> list[Node]:
    """Return the nodes with each one behind all that it takes something of; those in cycles or behind one are left out.

    Kahn 1962, "Topological sorting of large networks". Nodes that are free to come in any order keep the graph's.
    """
    open_sources = {node: len(set(sources)) for node, sources in graph.items()}
    behind = dependents(graph)
    ready = deque(node for node, count in open_sources.items() if not count)
    order = []
    while ready:
        node = ready.popleft()
        order.append(node)
        for other in behind[node]:
            open_sources[other] -= 1
            if not open_sources[other]:
                ready.append(other)
    return order


def dependents(graph: Graph[Node]) -> dict[Node, list[Node]]:
    """Return for each node those that take something of it."""
    found: dict[Node, list[Node]] = {node: [] for node in graph}
    for node, sources in graph.items():
        for source in dict.fromkeys(sources):
            found[source].append(node)
    return found


def shortest_cycle(graph: Graph[Node], node: Node) -> list[Node]:
    """Return the shortest way from a node through what it takes back to itself, both ends included; empty if none."""
    came_from: dict[Node, Node] = {}
    waiting = deque([node])
    while waiting:
        here = waiting.popleft()
        for source in graph[here]:
            if source == node:
                way = [here]
                while way[-1] != node:
                    way.append(came_from[way[-1]])
                return [*reversed(way), node]
            if source not in came_from:
                came_from[source] = here
                waiting.append(source)
    return []


def groups(graph: Graph[Node]) -> list[list[Node]]:
    """Return the nodes that are connected, however far around, together; single ones are groups of one."""
    neighbours = dependents(graph)
    seen: set[Node] = set()
    found = []
    for node in graph:
        if node in seen:
            continue
        seen.add(node)
        group = [node]
        for member in group:
            for other in (*graph[member], *neighbours[member]):
                if other not in seen:
                    seen.add(other)
                    group.append(other)
        found.append(group)
    return found
