"""A regular grid below a surface line of electrodes, as the texts of elem.dat and elec.dat.

The format of elem.dat, as CRMod and CRTomo read it (geophysics-ubonn/titatest, src/relem.f90)::

    nodes  element types  bandwidth
    type  elements  nodes an element        one line a type
    number  x  z                            one line a node
    n1 n2 n3 n4                             one line a cell, then one line of two nodes a boundary element
    cell                                    one line a boundary element: the cell it belongs to

Element types used here: 8, a quadrilateral made of four triangles, its nodes counterclockwise; 12, a boundary without
flow; 11, a boundary with the mixed condition of a half-space that goes on, whose nodes run clockwise around the grid
because their order gives the outward normal (src/beta.f90). Type 11 exists in 2.5D only: CRTomo refuses it in 2D.

Node numbers are a second step in this format: node n lies at the coordinates of line ``number[n]`` of the node list.
Programs that make grids list the coordinates row by row and number the nodes so that the bandwidth is small; so does
this module (rows of x in the list, columns of z in the numbers), which makes its grids a test of whoever reads them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_QUADRILATERAL = 8
_MIXED = 11
_NO_FLOW = 12


@dataclass(frozen=True)
class Grid:
    """Nodes on a rectangle of lines, the electrodes at nodes of the uppermost row.

    Args:
        x_m: coordinates of the columns of nodes along the surface, ascending, in m.
        depth_m: coordinates of the rows of nodes, 0 first, downwards, in m.
        electrode_columns: for each electrode its index in ``x_m``.
        mixed_boundary: sides and bottom are of type 11 (half-space, 2.5D) instead of 12 (closed box, 2D).
    """

    x_m: tuple[float, ...]
    depth_m: tuple[float, ...]
    electrode_columns: tuple[int, ...]
    mixed_boundary: bool

    @property
    def node_count(self) -> int:
        """Nodes of the grid."""
        return len(self.x_m) * len(self.depth_m)

    @property
    def cell_count(self) -> int:
        """Cells of the grid, which are the parameters of an inversion."""
        return (len(self.x_m) - 1) * (len(self.depth_m) - 1)

    @property
    def bandwidth(self) -> int:
        """The largest difference of two node numbers in one cell: a column and one more."""
        return len(self.depth_m) + 1

    @property
    def sink_node(self) -> int:
        """The node for the fictitious sink of 2D runs: in the middle of the bottom, far from the electrodes."""
        return self.node(len(self.x_m) // 2, len(self.depth_m) - 1)

    def node(self, column: int, row: int) -> int:
        """Give the number of a node, counted from 1, down each column."""
        return column * len(self.depth_m) + row + 1

    def cell(self, column: int, row: int) -> int:
        """Give the number of a cell, counted from 1, along each row: the order of rho.dat too."""
        return row * (len(self.x_m) - 1) + column + 1

    def centres(self) -> Iterator[tuple[float, float]]:
        """Give (x, depth) of each cell's centre in m, in the order of rho.dat."""
        for top, bottom in zip(self.depth_m, self.depth_m[1:]):
            for left, right in zip(self.x_m, self.x_m[1:]):
                yield (left + right) / 2, (top + bottom) / 2

    def elem_text(self) -> str:
        """Give the text of grid/elem.dat."""
        no_flow, mixed = self._boundary()
        kinds = [(_QUADRILATERAL, self.cell_count, 4), (_NO_FLOW, len(no_flow), 2)]
        if mixed:
            kinds.append((_MIXED, len(mixed), 2))
        lines = [f"{self.node_count} {len(kinds)} {self.bandwidth}"]
        lines += [f"{kind} {count} {nodes}" for kind, count, nodes in kinds]
        lines += self._node_lines()
        lines += self._cell_lines()
        lines += [f"{first} {second}" for first, second, _ in no_flow + mixed]
        lines += [str(cell) for _, _, cell in no_flow + mixed]
        return "\n".join(lines) + "\n"

    def elec_text(self) -> str:
        """Give the text of grid/elec.dat: the number of electrodes, then the node of each."""
        nodes = [self.node(column, 0) for column in self.electrode_columns]
        return "\n".join(str(number) for number in [len(nodes), *nodes]) + "\n"

    def _node_lines(self) -> Iterator[str]:
        columns, rows = len(self.x_m), len(self.depth_m)
        for line in range(self.node_count):
            row, column = divmod(line, columns)  # whose coordinates stand in this line
            number_column, number_row = divmod(line, rows)  # node line + 1 lies there ...
            number = number_row * columns + number_column + 1  # ... in that line of the list
            yield f"{number} {self.x_m[column]:g} {-self.depth_m[row]:g}"

    def _cell_lines(self) -> Iterator[str]:
        for row in range(len(self.depth_m) - 1):
            for column in range(len(self.x_m) - 1):
                lower_left, lower_right = self.node(column, row + 1), self.node(column + 1, row + 1)
                yield f"{lower_left} {lower_right} {lower_right - 1} {lower_left - 1}"

    def _boundary(self) -> tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]]:
        """Give the boundary elements without flow and the mixed ones: (node, node, adjacent cell), clockwise."""
        columns, rows = len(self.x_m) - 1, len(self.depth_m) - 1  # of cells
        top = [(self.node(c, 0), self.node(c + 1, 0), self.cell(c, 0)) for c in range(columns)]
        right = [(self.node(columns, r), self.node(columns, r + 1), self.cell(columns - 1, r)) for r in range(rows)]
        bottom = [(self.node(c + 1, rows), self.node(c, rows), self.cell(c, rows - 1)) for c in range(columns)]
        left = [(self.node(0, r + 1), self.node(0, r), self.cell(0, r)) for r in range(rows)]
        below = right + bottom[::-1] + left[::-1]
        return (top, below) if self.mixed_boundary else (top + below, [])


def surface_line(
    electrodes: int,
    spacing_m: float,
    *,
    cells_per_spacing: int,
    layers: int,
    padding_cells: int,
    growth: float = 1.6,
    mixed_boundary: bool,
) -> Grid:
    """Make the grid below a line of electrodes, the first one at x = 0.

    Cells are squares of spacing/cells_per_spacing between the electrodes and in the upper layers; beyond, each is
    ``growth`` times as large as its neighbour, which moves the boundaries away at little cost.

    Args:
        electrodes: number of electrodes.
        spacing_m: distance between two of them, in m.
        cells_per_spacing: cells between two electrodes.
        layers: rows of square cells.
        padding_cells: growing columns on each side, and growing rows below.
    """
    size = spacing_m / cells_per_spacing
    inner = (electrodes - 1) * cells_per_spacing
    x = [size * column for column in range(inner + 1)]
    depth = [size * row for row in range(layers + 1)]
    for step in range(1, padding_cells + 1):
        width = size * growth**step
        x = [x[0] - width, *x, x[-1] + width]
        depth.append(depth[-1] + width)
    return Grid(
        x_m=tuple(round(value, 3) for value in x),
        depth_m=tuple(round(value, 3) for value in depth),
        electrode_columns=tuple(range(padding_cells, padding_cells + inner + 1, cells_per_spacing)),
        mixed_boundary=mixed_boundary,
    )
