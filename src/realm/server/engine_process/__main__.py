"""`python -m realm.server.engine_process`: the process that has the models."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from realm.config import EngineConfig, SpeculativeConfig
from realm.errors import ConfigError
from realm.server.engine_process.process import EXIT_NO_START, EngineProcess
from realm.server.front.logs import configure_logging

_LOGGER = logging.getLogger("realm.server.engine_process")


def main(arguments: list[str] | None = None) -> int:
    """Serves one front until it has gone; see `EngineProcess.run` for the exit status."""
    parsed = _parser().parse_args(arguments)
    configure_logging(parsed.log_level, parsed.log_format)
    try:
        config = EngineConfig(
            threads=parsed.threads,
            cache_bytes=parsed.cache_bytes,
            cache_precision=parsed.cache_precision,
            adapter_bytes=parsed.adapter_bytes,
            context_length=parsed.context_length,
            speculation=SpeculativeConfig(draft_k=parsed.draft_k),
        )
        return EngineProcess(parsed.socket, config, parsed.state).run()
    except (ConfigError, OSError) as error:
        _LOGGER.error("the engine cannot start: %s", error)
        return EXIT_NO_START


def _parser() -> argparse.ArgumentParser:
    usual = EngineConfig()
    parser = argparse.ArgumentParser(
        prog="python -m realm.server.engine_process", description=__doc__
    )
    parser.add_argument("--socket", type=Path, required=True, help="where the front comes to")
    parser.add_argument("--state", type=Path, help="the file of what outlives the process")
    parser.add_argument("--threads", type=int, default=usual.threads)
    parser.add_argument("--cache-bytes", type=int, default=usual.cache_bytes)
    parser.add_argument("--cache-precision", default=usual.cache_precision)
    parser.add_argument("--adapter-bytes", type=int, default=usual.adapter_bytes)
    parser.add_argument("--context-length", type=int, default=usual.context_length)
    parser.add_argument("--draft-k", type=int, default=usual.speculation.draft_k)
    parser.add_argument("--log-level", default="info")
    parser.add_argument("--log-format", choices=("json", "text"), default="json")
    return parser


if __name__ == "__main__":
    sys.exit(main())
