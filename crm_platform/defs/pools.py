"""The concurrency pools of a code location, made before its first run: one writer per table needs them to be there.

Dagster makes a pool when a run first asks for it. On Postgres it cannot survive that another run has made the pool since
this one last looked: the insert fails, and the statement after it is refused because the transaction is over. So a new
instance, or a release with new tables, loses runs that overlap. What is made here beforehand no run has to make.
"""

import dagster as dg


def pools_of(defs: dg.Definitions) -> set[str]:
    """Every pool that an asset, a check or a job of the definitions asks for."""
    nodes = (node for job in defs.get_repository_def().get_all_jobs() for node in job.all_node_defs)
    return {node.pool for node in nodes if isinstance(node, dg.OpDefinition) and node.pool}


def prepare(instance: dg.DagsterInstance, defs: dg.Definitions) -> list[str]:
    """Makes the pools that are not there yet, with the instance's default limit; says which, by name.

    One process at a time: it has the race that it spares the runs. Opening the instance has made the storage's tables.
    """
    storage = instance.event_log_storage
    known = {pool.name for pool in storage.get_pool_limits()}
    missing = sorted(pools_of(defs) - known)
    for pool in missing:
        storage.initialize_concurrency_limit_to_default(pool)
    return missing
