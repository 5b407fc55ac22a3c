"""What the handlers of all routes share; made once, when the front process starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from realm.server.front.tracing import NO_TRACING, Tracing

if TYPE_CHECKING:
    from realm.server.front.admission import Admission
    from realm.server.front.directory import Directory
    from realm.server.front.engine_port import EnginePort
    from realm.server.front.metrics import FrontMetrics
    from realm.server.pipelines import PipelineBook
    from realm.server.settings import Settings


@dataclass(frozen=True, slots=True)
class Services:
    """directory: tenants, keys, models and items. admission: quotas and bounds. now: seconds,
    monotonic."""

    settings: Settings
    directory: Directory
    admission: Admission
    engine: EnginePort
    metrics: FrontMetrics
    pipelines: PipelineBook
    now: Callable[[], float]
    tracing: Tracing = NO_TRACING
