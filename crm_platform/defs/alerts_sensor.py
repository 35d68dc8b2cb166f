"""The sensor that tells people, as the code location declares it; what a tick does stands in `alerting`.

Apart from it because what knows Dagster's ticks and backfills is long to import, and only ticks need it.
"""

import datetime as dt
import os

import dagster as dg

from crm_platform.alerts import AlertSettings
from crm_platform.defs.platform import Platform

ALERTS = "alerts"


def alerts_sensor(settings: AlertSettings, runbook: str) -> dg.SensorDefinition:
    """The sensor over the configured targets; its messages link to sections of the runbook."""

    @dg.sensor(
        name=ALERTS,
        minimum_interval_seconds=30,
        description="Tells of failed checks, runs and backfills, of what hangs or is late, and of failing sensors: grouped, "
        "each once, and again when it is well. Requests nothing.",
    )
    def alerts(context: dg.SensorEvaluationContext, platform: Platform) -> dg.SkipReason:
        """One tick; the first one only notes where runs are read from."""
        from crm_platform.defs.alerting import tick  # noqa: PLC0415  long to import, and only ticks need it

        return dg.SkipReason(
            tick(context, platform, settings, now=dt.datetime.now(dt.UTC), environment=os.environ, runbook=runbook)
        )

    return alerts
