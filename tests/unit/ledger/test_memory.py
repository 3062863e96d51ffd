"""Memory that is given to tomodirs, and asked for: estimates, what the user says, and what failures teach."""

from __future__ import annotations

import pytest

from crh_batch.ledger.memory import PILOT_BYTES, MemoryRule
from crh_batch.ledger.settings import Settings

MB = 1 << 20


@pytest.mark.parametrize(
    ("peak", "expected"),
    # 64 MB for the pilot, 1.25 times the peak and 32 MB; in buckets of 256 MB.
    [(0, 256), (100_000_000, 256), (128 * MB, 256), (128 * MB + 1, 512), (1000 * MB, 1536)],
)
def test_job_bytes_when_a_peak_is_expected_then_with_margin_in_whole_buckets(peak: int, expected: int) -> None:
    rule = MemoryRule()
    assert rule.job_bytes(rule.need_bytes(peak)) == expected * MB


@pytest.mark.parametrize("peak", [0, 100 * MB, 1000 * MB])
@pytest.mark.parametrize("job_mb", [0, 3000])
def test_need_bytes_when_it_ran_out_of_memory_then_each_time_twice_the_job(peak: int, job_mb: int) -> None:
    """Twice an estimate that was far too small would be far too small."""
    rule = MemoryRule(job_mb)
    jobs = [rule.job_bytes(rule.need_bytes(peak, failures)) for failures in range(4)]
    assert jobs == [jobs[0], 2 * jobs[0], 4 * jobs[0], 8 * jobs[0]]


def test_need_bytes_when_the_user_says_how_large_jobs_are_then_so_large_to_the_megabyte() -> None:
    rule = MemoryRule(3001)
    assert rule.job_bytes(rule.need_bytes(10_000 * MB)) == 3001 * MB


def test_need_bytes_when_more_than_the_most_is_wanted_then_the_most_is_asked_for_and_fits() -> None:
    rule = MemoryRule(0, 1000)
    need = rule.need_bytes(100 * MB, 7)
    assert need == 1000 * MB - PILOT_BYTES
    assert rule.job_bytes(need) == 1000 * MB
    assert rule.job_bytes(rule.need_bytes(700 * MB)) == 1000 * MB, "no bucket beyond the most"


def test_settings_when_written_and_read_then_the_same() -> None:
    settings = Settings("symlink", (), {}, max_time_s=90.0, memory_mb=2000, max_memory_mb=8000, container=("a b", "c"))
    assert Settings.from_json(settings.to_json()) == settings
    assert settings.memory_rule == MemoryRule(2000, 8000)


def test_settings_when_an_older_crh_batch_wrote_them_then_nothing_is_known() -> None:
    data = Settings("symlink", (), {}).to_json()
    assert not {"max_time_s", "memory_mb", "max_memory_mb", "container"} & set(data)
    assert Settings.from_json(data).memory_rule == MemoryRule()
