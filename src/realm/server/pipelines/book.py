"""The pipelines of one folder, read once when a server starts."""

from __future__ import annotations

from pathlib import Path

from realm.errors import PipelineError, PipelineNotFoundError
from realm.server.pipelines.checking import read_pipeline
from realm.server.pipelines.definition import Pipeline
from realm.server.pipelines.document import SUFFIXES

MOST_FILES = 1000


class PipelineBook:
    """Nothing in it changes after it was made."""

    def __init__(self, directory: Path | None = None) -> None:
        """Reads the folder's *.yaml, *.yml and *.json files, but for hidden ones; None for no
        pipelines. Raises PipelineError, which tells of every file that is wrong."""
        self._pipelines: dict[str, Pipeline] = {}
        if directory is None:
            return
        files: dict[str, str] = {}
        faults: list[str] = []
        for path in pipeline_files(directory):
            try:
                pipeline = read_pipeline(path)
            except PipelineError as error:
                faults.append(str(error))
                continue
            other = files.setdefault(pipeline.pipeline_id, path.name)
            if other != path.name:
                text = f"{path.name}: id: {other} has the id {pipeline.pipeline_id!r} already"
                faults.append(text)
            else:
                self._pipelines[pipeline.pipeline_id] = pipeline
        if faults:
            raise PipelineError("\n".join(faults))

    def get(self, pipeline_id: str) -> Pipeline:
        """Raises PipelineNotFoundError."""
        found = self._pipelines.get(pipeline_id)
        if found is None:
            raise PipelineNotFoundError(f"there is no pipeline {pipeline_id[:100]!r}")
        return found

    def list(self) -> list[Pipeline]:
        """All, by their ids."""
        return [self._pipelines[each] for each in sorted(self._pipelines)]


def pipeline_files(directory: Path) -> list[Path]:
    """The files of pipelines in a folder, by name. Raises PipelineError."""
    try:
        found = sorted(
            path
            for path in directory.iterdir()
            if path.suffix in SUFFIXES and not path.name.startswith(".") and path.is_file()
        )
    except OSError as error:
        raise PipelineError(f"{directory}: cannot be read: {error.strerror}") from error
    if len(found) > MOST_FILES:
        raise PipelineError(f"{directory}: more than {MOST_FILES} pipelines")
    return found
