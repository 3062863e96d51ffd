"""Where commands run: argv in; exit status, stdout and stderr out. Knows no scheduler."""

from __future__ import annotations
