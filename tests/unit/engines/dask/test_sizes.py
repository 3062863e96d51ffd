"""Sizes of workers: who goes where, and how a machine's cores are shared."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crh_batch.engines.dask.sizes import Demand, Size, resource_of, share_cores
from crh_batch.ledger.memory import PILOT_BYTES
from crh_batch.plan.arrays import ALL_WIDTHS, ArrayRequest
from unit.ledger.making import make_item

MB = 1 << 20


def size(threads: int, cores: int, memory_mb: int = 512) -> Size:
    return Size(ArrayRequest(threads, cores, 1, memory_mb * MB, 1, 1.0))


def test_a_size_takes_its_width_and_what_fits_beside_the_worker() -> None:
    two = size(2, 2)
    need = 512 * MB - PILOT_BYTES
    assert two.takes(make_item(0, threads=2), need)
    assert not two.takes(make_item(0, threads=2), need + 1)
    assert not two.takes(make_item(0, threads=1), 1)
    assert size(ALL_WIDTHS, 8).takes(make_item(0, threads=1), 1)


def test_a_demand_is_in_cores_of_a_resource_that_no_other_size_has() -> None:
    assert size(2, 2).demand(make_item(0, threads=2)) == {"crh-2-threads-512-MB": 2}
    assert size(ALL_WIDTHS, 8).demand(make_item(0, threads=3)) == {"crh-any-threads-512-MB": 3}
    assert size(ALL_WIDTHS, 8).demand(make_item(0, threads=24)) == {"crh-any-threads-512-MB": 8}
    assert len({one.resource for one in (size(1, 1), size(2, 2), size(2, 2, 768), size(ALL_WIDTHS, 2))}) == 4
    assert resource_of(2, 512) == size(2, 2).resource, "worker and driver say the same"


def test_a_size_serves_a_request_of_its_width_that_is_no_larger() -> None:
    assert size(2, 2).serves(size(2, 2, 256).request)
    assert not size(2, 2).serves(size(2, 2, 768).request)
    assert not size(2, 2).serves(size(1, 1, 256).request)


def test_cores_are_shared_one_of_each_first_then_by_work() -> None:
    assert share_cores([Demand(2, 100.0, 9), Demand(1, 10.0, 9)], 3) == [1, 1]
    assert share_cores([Demand(2, 100.0, 9), Demand(1, 10.0, 9)], 8) == [3, 2]
    assert share_cores([Demand(2, 10.0, 0), Demand(1, 10.0, 3)], 8) == [0, 3]
    assert share_cores([], 4) == []


@given(
    st.lists(st.tuples(st.integers(1, 8), st.floats(0, 1e6), st.integers(0, 20)), max_size=4),
    st.integers(1, 16),
)
def test_shares_fit_the_machine_and_leave_no_core_idle_that_could_work(
    wanted: list[tuple[int, float, int]], cores: int
) -> None:
    demands = [Demand(*one) for one in wanted]
    shares = share_cores(demands, cores)
    used = sum(share * one.cores for share, one in zip(shares, demands))
    assert used <= cores
    assert all(share <= one.most for share, one in zip(shares, demands))
    assert not any(share < one.most and one.cores <= cores - used for share, one in zip(shares, demands))
