"""elem.dat and elec.dat: how large a mesh is and where its electrodes lie.

elem.dat: nodes, element types, bandwidth; a triple (type, elements, nodes of each) for each type; the nodes as
(number, x, z); the elements' nodes; for each boundary element its neighbour. Types above 10 are boundary elements,
all others model cells. Source: geophysics-ubonn/titatest, src/relem.f90 and relectr.f90; layouts with blank lines,
several nodes a line and text after the header were seen to work in CRMod_stable of crtomo_bin_wrapper 0.2.0.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from crh_batch.errors import MeshError
from crh_batch.tomodir.by_content import ByContent
from crh_batch.tomodir.files import load

_FIX = "Make the mesh again; the file is damaged or was cut short."
_NUMBER = re.compile(rb"[+-]?\d{1,9}")
_FIRST_BOUNDARY_TYPE = 11


@dataclass(frozen=True)
class Mesh:
    """What planning needs to know of a mesh and its electrodes.

    Attributes:
        nodes: number of nodes.
        parameters: number of model cells: the elements without the boundary elements.
        electrodes: number of electrodes.
        bandwidth: of the matrix, as elem.dat gives it.
        electrode_xz: coordinates of electrode 1, 2, ... in m.
    """

    nodes: int
    parameters: int
    electrodes: int
    bandwidth: int
    electrode_xz: tuple[tuple[float, float], ...]


class _DamagedElem(Exception):
    """What is wrong with an elem.dat; the path is not known where this is found out."""


class _DamagedElec(Exception):
    """What is wrong with an elec.dat."""


_MESHES: ByContent[Mesh] = ByContent(64)


def read_mesh(elem_path: str, elec_path: str) -> Mesh:
    """Return the size of a mesh and its electrodes' coordinates.

    A survey often holds thousands of equal meshes in files of their own, so results are kept by content.

    Raises:
        MeshError: a file is missing, cut short or not of this form; has the file.
    """
    elem = load(elem_path, MeshError, "Put the mesh there, or correct the path in the .cfg.")
    elec = load(elec_path, MeshError, "Put the electrodes there, or correct the path in the .cfg.")
    try:
        return _MESHES.get(lambda: _place_electrodes(_parse_elem(elem), elec), elem, elec)
    except _DamagedElem as wrong:
        raise MeshError(f"{elem_path}: {wrong}", _FIX, elem_path) from None
    except _DamagedElec as wrong:
        raise MeshError(f"{elec_path}: {wrong}", _FIX, elec_path) from None


@dataclass(frozen=True)
class _Grid:
    nodes: int
    parameters: int
    bandwidth: int
    node_fields: list[bytes]  # number, x, z of each node


def _parse_elem(data: bytes) -> _Grid:
    lines = data.split(b"\n")
    try:
        (nodes, types, bandwidth), rest = _read_integers(lines, 0, 3)
        if nodes < 1 or types < 1 or bandwidth < 0 or max(nodes, types) > len(data):
            raise ValueError(f"its first line gives {nodes} nodes and {types} kinds of elements")
        kinds, rest = _read_integers(lines, rest, 3 * types)
    except ValueError as wrong:
        raise _DamagedElem(wrong) from None
    triples = list(zip(kinds[::3], kinds[1::3], kinds[2::3]))
    if any(count < 0 or corners < 0 for _, count, corners in triples):
        raise _DamagedElem("it gives a negative number of elements")
    boundary = sum(count for kind, count, _ in triples if kind >= _FIRST_BOUNDARY_TYPE)
    parameters = sum(count for _, count, _ in triples) - boundary
    wanted = 3 * nodes + sum(count * corners for _, count, corners in triples) + boundary
    fields = b"\n".join(lines[rest:]).split()
    if len(fields) < wanted:
        raise _DamagedElem(f"it is cut short: {len(fields)} of {wanted} numbers after the header")
    return _Grid(nodes, parameters, bandwidth, fields[: 3 * nodes])


def _place_electrodes(grid: _Grid, elec: bytes) -> Mesh:
    lines = [line for line in elec.split(b"\n") if line.strip()]
    try:
        (count,), _ = _read_integers(lines, 0, 1)
        if not 1 <= count < len(lines):
            raise ValueError(f"it is cut short: {len(lines) - 1} of {count} electrodes")
        nodes = [_integer(line.split()[0]) for line in lines[1 : count + 1]]
    except ValueError as wrong:
        raise _DamagedElec(wrong) from None
    return Mesh(grid.nodes, grid.parameters, count, grid.bandwidth, tuple(_place(grid, node) for node in nodes))


def _place(grid: _Grid, node: int) -> tuple[float, float]:
    """Return the coordinates of a node.

    The node list is a permutation: node e has the coordinates in line number[e] of the list, where number is its
    first column. Checked against the "# wavenumbers" line of 93 public inv.ctr files.
    """
    if not 1 <= node <= grid.nodes:
        raise _DamagedElec(f"it puts an electrode at node {node} of {grid.nodes}")
    try:
        row = _integer(grid.node_fields[3 * (node - 1)])
        if not 1 <= row <= grid.nodes:
            raise ValueError(f"it sends node {node} to line {row} of {grid.nodes}")
        return _real(grid.node_fields[3 * row - 2]), _real(grid.node_fields[3 * row - 1])
    except ValueError as wrong:
        raise _DamagedElem(wrong) from None


def _read_integers(lines: list[bytes], first: int, count: int) -> tuple[list[int], int]:
    """Return ``count`` numbers from line ``first`` on and the line after the last one, as a READ with * would.

    Raises:
        ValueError: what is wrong.
    """
    numbers: list[int] = []
    for place in range(first, len(lines)):
        for field in lines[place].split()[: count - len(numbers)]:
            numbers.append(_integer(field))
        if len(numbers) == count:
            return numbers, place + 1
    raise ValueError("it ends within its first lines")


def _integer(field: bytes) -> int:
    if not _NUMBER.fullmatch(field):
        raise ValueError(f"{field[:30].decode('ascii', 'replace')!r} is not a whole number")
    return int(field)


def _real(field: bytes) -> float:
    try:
        return float(field.lower().replace(b"d", b"e"))
    except ValueError:
        raise ValueError(f"{field[:30].decode('ascii', 'replace')!r} is not a number") from None
