"""What starts pilots and knows whether they live: array jobs of a scheduler, or processes on this machine."""

from __future__ import annotations
