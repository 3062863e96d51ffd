from __future__ import annotations

import pytest

pytest.register_assert_rewrite("unit.ledger.making", "unit.engines.told")
