"""The dask engine: one dask scheduler and its workers, of several sizes, run a batch's tomodirs as tasks.

Runs in the client: ``engine``, ``driver``, ``crew``, ``sizes``, ``naming``, ``page``. Runs in a job: ``worker`` with
``task`` and ``plugin``, and ``head``. Both read ``place``; ``frugal`` is for jobs.
Nothing here imports dask before it is used.
docs/decisions/0027 says what is dask's part and what is not.
"""
