"""Speculation: drafts, their chances, how many of them to verify. Pure: it computes no model row.

Whether there are drafts, and which, never changes a token: the target samples every position
itself, and a drafted token only joins when it is the one that was sampled.
"""

from realm.engine.speculation.book import SpeculationBook
from realm.engine.speculation.calibration import Calibration
from realm.engine.speculation.draft import (
    GRADE_COUNT,
    SOURCES,
    Draft,
    Source,
    count_accepted,
    probability_grade,
)
from realm.engine.speculation.gate import DraftGate
from realm.engine.speculation.history import TenantHistory
from realm.engine.speculation.metrics import SourceCounts, SpeculationCounter, SpeculationMetrics
from realm.engine.speculation.payback import Payback
from realm.engine.speculation.plan import (
    LEAST_GAIN,
    LEAST_SHARE,
    DraftCandidate,
    DraftLimits,
    plan_drafts,
)
from realm.engine.speculation.row_cost import MEASURED_ROWS, RowCost
from realm.engine.speculation.sequence import SequenceSpeculation
from realm.engine.speculation.tenant import TenantSpeculation

__all__ = [
    "GRADE_COUNT",
    "LEAST_GAIN",
    "LEAST_SHARE",
    "MEASURED_ROWS",
    "SOURCES",
    "Calibration",
    "Draft",
    "DraftCandidate",
    "DraftGate",
    "DraftLimits",
    "Payback",
    "RowCost",
    "SequenceSpeculation",
    "Source",
    "SourceCounts",
    "SpeculationBook",
    "SpeculationCounter",
    "SpeculationMetrics",
    "TenantHistory",
    "TenantSpeculation",
    "count_accepted",
    "plan_drafts",
    "probability_grade",
]
