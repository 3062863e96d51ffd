"""All mutations, in groups."""

from __future__ import annotations

from mutations import (
    of_batch,
    of_collecting,
    of_custody,
    of_dask,
    of_durable,
    of_guarding,
    of_input,
    of_living,
    of_mirror,
    of_names,
    of_pilot,
    of_placing,
    of_programs,
    of_records,
    of_sessions,
    of_submitting,
    of_time,
    of_verify,
)
from mutations.mutation import Mutation

GROUPS: tuple[tuple[str, tuple[Mutation, ...]], ...] = (
    ("Writes and exclusive names", of_durable.MUTATIONS),
    ("States", of_names.MUTATIONS),
    ("Commit and packs", of_records.MUTATIONS),
    ("Sessions and files", of_sessions.MUTATIONS),
    ("Registering and taking over", of_submitting.MUTATIONS),
    ("Custody and submissions", of_custody.MUTATIONS),
    ("Batches", of_batch.MUTATIONS),
    ("Who lives", of_living.MUTATIONS),
    ("What a pilot stages and runs", of_pilot.MUTATIONS),
    ("Programs and the guard", of_programs.MUTATIONS),
    ("Time, steering, verdicts", of_time.MUTATIONS),
    ("Collecting: what is taken", of_collecting.MUTATIONS),
    ("Collecting: how it is put in place", of_placing.MUTATIONS),
    ("Permissions", of_guarding.MUTATIONS),
    ("Verify, verify-fs and prune", of_verify.MUTATIONS),
    ("The dask engine", of_dask.MUTATIONS),
    ("Batches that are mirrored", of_mirror.MUTATIONS),
    ("Hostile input", of_input.MUTATIONS),
)
MUTATIONS = tuple(one for _, mutations in GROUPS for one in mutations)

# Changes that must reach the clients and pilots that tests start; without that, no other answer counts.
CANARIES = (
    Mutation(
        "canary: client",
        "clients are those of the copy",
        "another version",
        "__init__.py",
        (('__version__ = "', '__version__ = "canary '),),
        (
            "mutations/canary.py::test_command_is_that_of_this_package",
            "mutations/canary.py::test_clients_and_pilots_are_those_of_this_package",
        ),
    ),
    Mutation(
        "canary: pilot",
        "pilots are those of the copy",
        "another label",
        "pilot/main.py",
        (("label=here.label", 'label="canary"'),),
        ("mutations/canary.py::test_clients_and_pilots_are_those_of_this_package",),
    ),
)
