"""Counts of drafts as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from realm.engine import SpeculationMetrics


def by_source(metrics: SpeculationMetrics) -> dict[str, dict[str, Any]]:
    """Of each source: drafted and accepted tokens, and accepted lengths of its drafts."""
    return {
        source.value: {
            "drafts": counts.drafts,
            "drafted": counts.drafted,
            "accepted": counts.accepted,
            "accepted_length": counts.accepted_length,
            "lengths": list(counts.lengths),
        }
        for source, counts in metrics.by_source.items()
    }
