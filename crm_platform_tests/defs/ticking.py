"""Puts a running sensor and its ticks into an instance, as Dagster's daemon does."""

from collections.abc import Sequence

import dagster as dg
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._utils.error import SerializableErrorInfo


def sensor_in(instance: dg.DagsterInstance, name: str) -> InstigatorState:
    """A sensor that is switched on."""
    location = ManagedGrpcPythonEnvCodeLocationOrigin(LoadableTargetOrigin(module_name="crm_platform.definitions"))
    origin = RemoteInstigatorOrigin(
        repository_origin=RemoteRepositoryOrigin(code_location_origin=location, repository_name="__repository__"),
        instigator_name=name,
    )
    return instance.add_instigator_state(
        InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.RUNNING, SensorInstigatorData())
    )


def tell_ticks(
    instance: dg.DagsterInstance, state: InstigatorState, statuses: Sequence[TickStatus], *, begin: int = 1
) -> None:
    """Ticks of a sensor, one a second."""
    failed = SerializableErrorInfo("the source does not answer", [], "SourceError")
    for second, status in enumerate(statuses, begin):
        instance.create_tick(
            TickData(
                instigator_origin_id=state.instigator_origin_id,
                instigator_name=state.name,
                instigator_type=InstigatorType.SENSOR,
                status=status,
                timestamp=float(second),
                selector_id=state.selector_id,
                run_ids=[],
                error=failed if status == TickStatus.FAILURE else None,
            )
        )
