"""Shared parts of the command line's tests."""

import pytest

from cli.fake_runtime import FakeRuntime, run_command


@pytest.fixture
def runtime():
    return FakeRuntime()


@pytest.fixture
def model_file(tmp_path):
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF")
    return path


@pytest.fixture
def realm(runtime, tmp_path):
    """Call a command: realm("run", "--model", ...) -> Outcome."""

    def call(*words, **options):
        return run_command(words, runtime, tmp_path / "models", **options)

    return call
