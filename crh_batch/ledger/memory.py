"""How much memory a tomodir is given: its estimate with a margin, doubled after each attempt that ran out of memory."""

from __future__ import annotations

from dataclasses import dataclass

# What a pilot takes beside its programs, its guard included.
PILOT_BYTES = 64 << 20
# The estimate was right to within 8 MB in 51 measured runs up to 166 MB; larger ones were not measured.
_MARGIN = 1.25
_SLACK_BYTES = 32 << 20
# Requests are rounded up, so that few sizes are asked for.
_BUCKET_BYTES = 256 << 20


@dataclass(frozen=True)
class MemoryRule:
    """What is known of the memory of a batch's jobs, in MB of 2^20 bytes.

    Args:
        job_mb: of a job that runs one tomodir at a time, as the user says; 0 if it follows from the estimates.
        most_mb: the most that a job can have; what needs more may try with that. 0 if not known.
    """

    job_mb: int = 0
    most_mb: int = 0

    def need_bytes(self, peak: int, failures: int = 0) -> int:
        """Return what a tomodir may take, the pilot not counted.

        Args:
            peak: the estimate of its peak, in bytes.
            failures: attempts that ran out of memory; each doubles the job that it would have had alone.
        """
        need = max(1, (self.job_mb << 20) - PILOT_BYTES) if self.job_mb else int(peak * _MARGIN) + _SLACK_BYTES
        if failures:
            need = (self.job_bytes(need) << failures) - PILOT_BYTES
        return min(need, max(1, (self.most_mb << 20) - PILOT_BYTES)) if self.most_mb else need

    def job_bytes(self, need: int) -> int:
        """Return what to ask for, for a pilot whose programs take so much together."""
        wanted = PILOT_BYTES + need
        if not self.job_mb:
            wanted = -(-wanted // _BUCKET_BYTES) * _BUCKET_BYTES
        return min(wanted, self.most_mb << 20) if self.most_mb else wanted


NOTHING_KNOWN = MemoryRule()
