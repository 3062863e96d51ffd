"""The texts of elem.dat and elec.dat, read back by a reader of the test's own."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from crh_batch.demo.grid import Grid, surface_line


class Mesh(NamedTuple):
    bandwidth: int
    numbers: list[int]
    points: list[tuple[float, float]]  # by node number - 1, through the permutation
    cells: list[list[int]]
    boundary: dict[int, list[list[int]]]  # by element type
    adjacent: list[int]


def read_elem(text: str) -> Mesh:
    words = iter(text.split())
    nodes, kinds, bandwidth = (int(next(words)) for _ in range(3))
    header = [[int(next(words)) for _ in range(3)] for _ in range(kinds)]
    listed = [(int(next(words)), float(next(words)), float(next(words))) for _ in range(nodes)]
    elements = {kind: [[int(next(words)) for _ in range(size)] for _ in range(count)] for kind, count, size in header}
    cells = elements.pop(8)
    numbers = [number for number, _, _ in listed]
    points = [listed[number - 1][1:] for number in numbers]
    return Mesh(bandwidth, numbers, points, cells, elements, [int(word) for word in words])


def small_grid(mixed_boundary: bool) -> Grid:
    return surface_line(
        6, 2.0, cells_per_spacing=2, layers=3, padding_cells=2, growth=2.0, mixed_boundary=mixed_boundary
    )


@pytest.mark.parametrize("mixed_boundary", [False, True])
def test_header_counts_what_follows(mixed_boundary: bool) -> None:
    grid = small_grid(mixed_boundary)
    mesh = read_elem(grid.elem_text())

    assert (len(mesh.points), len(mesh.cells)) == (15 * 6, 14 * 5) == (grid.node_count, grid.cell_count)
    assert len(mesh.adjacent) == sum(len(elements) for elements in mesh.boundary.values()) == 2 * (14 + 5)


def test_bandwidth_is_what_the_cells_need_and_no_more() -> None:
    mesh = read_elem(small_grid(True).elem_text())

    assert mesh.bandwidth == max(max(cell) - min(cell) for cell in mesh.cells) == 7


def test_node_numbers_are_a_permutation_that_matters() -> None:
    """A reader that takes line n for node n gets other coordinates."""
    mesh = read_elem(small_grid(True).elem_text())

    assert sorted(mesh.numbers) == list(range(1, len(mesh.points) + 1))
    assert mesh.numbers != sorted(mesh.numbers)


def test_cells_run_counterclockwise_and_fill_the_rectangle() -> None:
    mesh = read_elem(small_grid(True).elem_text())

    areas = []
    for cell in mesh.cells:
        corners = [mesh.points[node - 1] for node in cell]
        areas.append(sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(corners, corners[1:] + corners[:1])) / 2)
    assert min(areas) >= 1.0  # a square metre is the smallest cell
    # 10 m of line, 2 + 4 m on each side; 3 m of layers and 6 m below
    assert sum(areas) == pytest.approx(22 * 9)


def test_cells_are_in_the_order_of_their_centres() -> None:
    """rho.dat is written by ``centres`` and read by the order of the cells."""
    grid = small_grid(False)
    mesh = read_elem(grid.elem_text())

    for cell, (x_m, depth_m) in zip(mesh.cells, grid.centres(), strict=True):
        corners = [mesh.points[node - 1] for node in cell]
        assert sum(x for x, _ in corners) / 4 == pytest.approx(x_m)
        assert sum(z for _, z in corners) / 4 == pytest.approx(-depth_m)


def test_half_space_has_a_free_surface_and_mixed_sides() -> None:
    mesh = read_elem(small_grid(True).elem_text())

    assert sorted(mesh.boundary) == [11, 12]
    for kind, elements in mesh.boundary.items():
        at_surface = [all(mesh.points[node - 1][1] == 0 for node in element) for element in elements]
        assert set(at_surface) == {kind == 12}


def test_closed_box_has_no_mixed_boundary() -> None:
    """CRTomo refuses type 11 in 2D."""
    assert sorted(read_elem(small_grid(False).elem_text()).boundary) == [12]


@pytest.mark.parametrize("mixed_boundary", [False, True])
def test_boundary_is_one_clockwise_loop_of_edges_of_its_cells(mixed_boundary: bool) -> None:
    mesh = read_elem(small_grid(mixed_boundary).elem_text())
    edges = [tuple(edge) for kind in sorted(mesh.boundary, reverse=True) for edge in mesh.boundary[kind]]

    for edge, cell in zip(edges, mesh.adjacent, strict=True):
        assert set(edge) < set(mesh.cells[cell - 1])
    assert all(before[1] == after[0] for before, after in zip(edges, edges[1:] + edges[:1]))
    corners = [mesh.points[first - 1] for first, _ in edges]
    area = sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(corners, corners[1:] + corners[:1])) / 2
    assert area == pytest.approx(-22 * 9)


def test_electrodes_lie_on_the_surface_at_their_spacing() -> None:
    grid = small_grid(True)
    mesh = read_elem(grid.elem_text())

    count, *nodes = (int(line) for line in grid.elec_text().splitlines())
    assert count == 6
    assert [mesh.points[node - 1] for node in nodes] == [(2.0 * index, 0.0) for index in range(6)]


def test_sink_is_at_the_bottom() -> None:
    grid = small_grid(False)

    assert read_elem(grid.elem_text()).points[grid.sink_node - 1] == (5.0, -9.0)
