"""Mutations: the dask engine."""

from __future__ import annotations

from mutations.mutation import Mutation

_LOCAL = "real/local/test_dask_local.py::"
_TERMINAL = "real/local/test_dask_terminal.py::"
_ORDERS = "unit/engines/dask/test_orders.py::"
_PLACE = (
    "unit/engines/dask/test_naming_story_place.py::test_a_place_is_its_owners_alone_and_gives_back_what_was_written"
)

MUTATIONS = (
    Mutation(
        "dask: threads of the surroundings",
        "A program has the threads that its tomodir was given, whatever OMP_NUM_THREADS its worker has.",
        "the worker's stands",
        "pilot/program.py",
        (
            (
                'if not key.startswith(("OMP_", "GOMP_"))}',
                "}",
            ),
            (
                '    environment["OMP_NUM_THREADS"] = str(omp_threads)\n',
                '    environment.setdefault("OMP_NUM_THREADS", str(omp_threads))\n',
            ),
        ),
        (
            "unit/pilot/test_program.py::"
            "test_environment_when_the_pilots_has_openmp_settings_then_only_the_tomodirs_own_count",
        ),
    ),
    Mutation(
        "dask: plain connections",
        "Scheduler and workers speak TLS, with a key of their own.",
        "they speak plain TCP",
        "engines/dask/driver.py",
        (
            (
                '    "distributed.comm.require-encryption": True,\n',
                "",
            ),
            (
                '            "security": security,\n            "protocol": "tls://",\n',
                '            "security": None,\n            "protocol": "tcp://",\n',
            ),
            (
                "SpecCluster({}, spec, asynchronous=True, security=security,",
                "SpecCluster({}, spec, asynchronous=True, security=None,",
            ),
            (
                "Client(cluster, asynchronous=True, security=security,",
                "Client(cluster, asynchronous=True, security=None,",
            ),
        ),
        (_LOCAL + "test_the_scheduler_opens_to_its_key_alone",),
    ),
    Mutation(
        "dask: key for all to read",
        "Nobody but its owner reads the key of a dask scheduler.",
        "its file may be read by others",
        "engines/dask/place.py",
        (
            (
                "mode=0o600",
                "mode=0o644",
            ),
        ),
        (_PLACE, _LOCAL + "test_the_scheduler_opens_to_its_key_alone"),
    ),
    Mutation(
        "dask: directory for all to read",
        "Nobody but its owner looks into the directory of a dask scheduler.",
        "its mode is that of others",
        "engines/dask/place.py",
        (
            (
                "os.mkdir(place.directory, 0o700)",
                "os.mkdir(place.directory, 0o755)",
            ),
        ),
        (_PLACE, _LOCAL + "test_the_scheduler_opens_to_its_key_alone"),
    ),
    Mutation(
        "dask: killer of workers given up",
        "What dask gives up, such as a task whose workers were killed, is ordered again.",
        "what ended in an error is not",
        "engines/dask/orders.py",
        (
            (
                "            if future.done():\n",
                '            if future.status == "finished":\n',
            ),
        ),
        (_ORDERS + "test_what_dask_gave_up_as_a_killer_of_workers_is_ordered_again",),
    ),
    Mutation(
        "dask: any worker",
        "An order goes to workers of its size.",
        "it goes to any",
        "engines/dask/orders.py",
        (
            (
                "resources=self._sizing.size_of(item_id, state.memory_failures).demand(item)",
                "resources=None",
            ),
        ),
        (_ORDERS + "test_an_order_goes_to_its_size_alone",),
    ),
    Mutation(
        "dask: no scheduler, no work",
        "A worker that finds no scheduler works as any pilot does.",
        "it leaves",
        "engines/dask/worker.py",
        (
            (
                'works alone", file=sys.stderr, flush=True)\n            return True',
                'works alone", file=sys.stderr, flush=True)\n            return False',
            ),
        ),
        ("unit/engines/dask/test_worker.py::test_a_worker_that_finds_no_scheduler_works_alone",),
    ),
    Mutation(
        "dask: lost its scheduler",
        "A worker that has lost its scheduler goes on as any pilot does.",
        "it leaves",
        "engines/dask/worker.py",
        (
            (
                "        alone = any(reason in _LEFT_ALONE for reason in closed_for) and not self._draining.is_set()\n",
                "        alone = False\n",
            ),
        ),
        ("unit/engines/dask/test_worker.py::test_a_worker_without_time_gives_its_task_to_another_and_leaves",),
    ),
    Mutation(
        "dask: runs what is taken",
        "An order for what others have, or what is done, is turned away.",
        "it is run all the same",
        "pilot/fed.py",
        (
            (
                "            return Answer(Came.TAKEN)\n        offer",
                "            state = state._replace(attempt=state.attempt + 1)\n        offer",
            ),
        ),
        (
            "unit/pilot/test_fed.py::test_it_runs_what_it_is_told_once_and_nothing_else",
            "unit/pilot/test_fed.py::test_what_others_have_claimed_is_turned_away",
        ),
    ),
    Mutation(
        "dask: sent back to the tired",
        "A worker without time gives its task to another.",
        "it doesn't tell the scheduler first, and gets the task again",
        "engines/dask/plugin.py",
        (
            (
                "            self._drain()\n",
                "            pass\n",
            ),
        ),
        ("unit/engines/dask/test_worker.py::test_a_worker_without_time_gives_its_task_to_another_and_leaves",),
    ),
    Mutation(
        "dask: stops unasked",
        "Ctrl-C at a terminal asks whether to stop the workers.",
        "what is answered makes no difference: they are left",
        "cli/driving.py",
        (
            (
                'Ending.STOPPED if answer.startswith("s") else Ending.LEFT',
                "Ending.LEFT",
            ),
        ),
        (_TERMINAL + "test_ctrl_c_then_stop_ends_the_workers_and_what_they_run[s]",),
    ),
    Mutation(
        "dask: a thread for each core",
        "A worker takes little virtual memory, however many cores the node has.",
        "OpenBLAS starts its threads",
        "engines/dask/frugal.py",
        (
            (
                '    os.environ["OPENBLAS_NUM_THREADS"] = "1"\n',
                "",
            ),
        ),
        (
            "unit/engines/dask/test_frugal.py::"
            "test_be_frugal_when_dask_is_imported_then_no_thread_for_each_core_comes_along",
        ),
    ),
    Mutation(
        "dask: a head that can't submit",
        "--head-job is refused where nodes may not submit jobs.",
        "nobody looks",
        "schedulers/sge.py",
        (
            (
                "        return not nodes or bool(submitting & nodes)\n",
                "        return True\n",
            ),
        ),
        (
            "unit/engines/dask/test_head_job.py::"
            "test_check_head_when_no_node_may_submit_then_it_is_refused_and_says_what_to_do",
        ),
    ),
)
