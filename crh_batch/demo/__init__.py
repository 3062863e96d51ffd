"""Small synthetic tomodirs, made from scratch: for ``crh-batch demo``, for tests and for benchmarks.

A surface line of electrodes with dipole-dipole measurements over a homogeneous ground that hides a block. The real
CRMod and CRTomo run them in a few seconds each, to a final RMS near 1. ``write_demo`` makes a survey of them,
``write_time_lapse`` a chain of them, ``write_small_models`` thousands of tiny ones, ``write_tomodir`` the one that a
``TomodirSpec`` describes.
"""

from __future__ import annotations

from crh_batch.demo.files import write_tomodir
from crh_batch.demo.spec import Block, Noise, TomodirSpec
from crh_batch.demo.survey import write_demo, write_small_models, write_time_lapse

__all__ = ["Block", "Noise", "TomodirSpec", "write_demo", "write_small_models", "write_time_lapse", "write_tomodir"]
