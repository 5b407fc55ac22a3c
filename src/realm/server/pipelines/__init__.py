"""Pipelines: steps of generation that feed each other, defined in YAML or JSON files.

`document` reads a file, `checking` makes a `definition` of it, `book` keeps those of a folder,
`running` runs one. Who generates is the caller's: nothing here knows of engines or clients.
"""

from realm.server.pipelines.book import PipelineBook
from realm.server.pipelines.checking import check_pipeline, read_pipeline
from realm.server.pipelines.definition import Pipeline, PipelineInput, Step
from realm.server.pipelines.running import (
    Ask,
    PipelineResult,
    StepAnswer,
    StepResult,
    run_pipeline,
)

__all__ = [
    "Ask",
    "Pipeline",
    "PipelineBook",
    "PipelineInput",
    "PipelineResult",
    "Step",
    "StepAnswer",
    "StepResult",
    "check_pipeline",
    "read_pipeline",
    "run_pipeline",
]
