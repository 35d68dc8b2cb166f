"""Point-in-time features: views, timelines, joins and training sets, pure functions over frames.

Nothing here opens a connection or reads a clock; what was true and known stands in `history`.
"""

from crm_platform.features.gated import Override, training_set
from crm_platform.features.joins import point_in_time_join
from crm_platform.features.keyframes import with_keyframes
from crm_platform.features.lookups import features_at
from crm_platform.features.questions import stored_features_at
from crm_platform.features.timelines import build_timeline
from crm_platform.features.views import (
    Attribute,
    Count,
    Distinct,
    FeatureView,
    First,
    Last,
    Max,
    Mean,
    Min,
    Recency,
    Std,
    Sum,
)

__all__ = [
    "Attribute",
    "Count",
    "Distinct",
    "FeatureView",
    "First",
    "Last",
    "Max",
    "Mean",
    "Min",
    "Override",
    "Recency",
    "Std",
    "Sum",
    "build_timeline",
    "features_at",
    "point_in_time_join",
    "stored_features_at",
    "training_set",
    "with_keyframes",
]
