"""Readers of what a machine behind SSH answers about a batch's stage, and of what is known of stages here."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable
from pathlib import Path

from crh_batch.errors import LedgerError
from crh_batch.ledger.reading import parse_json
from crh_batch.mirror.answers import parse_counts, parse_names, parse_sizes, parse_tails, size_of
from crh_batch.mirror.stage import Stage, read_stages, write_stage
from unit.fuzz.reader import Reader
from unit.ledger.making import make_batch

_NAMES = (
    b'[["000/000017.claim.001","../../sessions/slurm-1_0-r0-urkhj7hbmh.crh"],'
    b'["held.001","../sessions/client-ms5j.crh"]]'
)
_TAILS = b'[["slurm-1_0-r0-urkhj7hbmh.crh",120,"{\\"event\\": \\"claim\\", \\"id\\": 17}\\n\\u00ff"]]'
_SIZES = b'{"slurm-1_0-r0-urkhj7hbmh.pack":239120}'


def of_mirrors(scratch: Path) -> list[Reader]:
    batch = make_batch(scratch / "mirrored", 2)
    stage = Stage(batch.paths, 1, "levante", "levante.dkrz.de", "slurm", f"/s/{batch.batch_id}", f"/s/{batch.batch_id}")
    write_stage(stage)
    path = Path(stage.directory, "stage.json")

    def packed(parse: Callable[[dict[str, object]], object]) -> Callable[[bytes], object]:
        return lambda data: parse({"data": base64.b64encode(zlib.compress(data, 1)).decode()})

    def unpacking(data: bytes) -> object:
        answer = {"data": data.decode("latin-1")}
        return size_of(answer), parse_names(answer)

    def stages(data: bytes) -> object:
        path.write_bytes(data)
        return read_stages(batch.paths)

    whole = base64.b64encode(zlib.compress(_NAMES))
    return [
        Reader("names there", [_NAMES, b"[]"], packed(parse_names), (ValueError,), ("mirror.answers.parse_names",)),
        Reader(
            "ends of sessions there",
            [_TAILS],
            packed(lambda answer: parse_tails(answer, ".crh")),
            (ValueError,),
            ("mirror.answers.parse_tails",),
        ),
        Reader(
            "sizes of packs there",
            [_SIZES],
            packed(lambda answer: parse_sizes(answer, ".pack")),
            (ValueError,),
            ("mirror.answers.parse_sizes",),
        ),
        Reader(
            "counts of names there",
            [b'{"": 2, "000": 1700}'],
            lambda data: parse_counts({"counts": parse_json(data)}),
            (ValueError,),
            ("mirror.answers.parse_counts",),
        ),
        Reader("packed answers", [whole], unpacking, (ValueError,)),
        Reader(
            "stages",
            [json.dumps(stage.to_json()).encode()],
            stages,
            (LedgerError,),
            ("mirror.stage.read_stages",),
        ),
    ]
