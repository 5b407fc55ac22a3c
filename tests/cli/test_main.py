"""Dispatch, exit codes, error lines, and what a command's start imports."""

import json
import subprocess
import sys

import pytest

from realm.cli.main import COMMANDS


def test_every_command_shows_its_options(realm, capsys):
    for name in COMMANDS:
        assert realm(name, "--help").code == 0
        assert f"realm {name}" in capsys.readouterr().out


def test_overview_names_every_command(realm):
    outcome = realm("--help")
    assert outcome.code == 0
    assert all(f"  {name}" in outcome.stdout for name in COMMANDS)
    assert realm().code == 2


@pytest.mark.parametrize("words", [["sing"], ["run"], ["run", "--model"], ["bench", "fly"]])
def test_wrong_usage_ends_with_two(realm, words):
    assert realm(*words).code == 2


def test_realm_error_is_one_line_and_ends_with_one(realm, runtime, model_file):
    runtime.context_length = 1
    outcome = realm("run", "--model", model_file, "--prompt", "too long")
    assert outcome.code == 1
    assert outcome.stderr == "error: 8 tokens do not fit\n"
    assert runtime.closed


def test_interrupt_ends_with_130_and_closes_the_runtime(realm, runtime, model_file):
    runtime.interrupt_after = 2
    outcome = realm("run", "--model", model_file, "--prompt", "x")
    assert outcome.code == 130
    assert outcome.stdout == "Pa"
    assert runtime.closed


def test_closed_pipe_ends_quietly(tmp_path):
    script = f"from realm.cli.main import main; raise SystemExit(main({['--help']!r}))"
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", f"import sys; sys.stdin.readline(); {script}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    process.stdin.write(b"\n")
    process.stdin.close()
    error_text = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 141
    assert error_text == b""


def test_starting_run_loads_no_heavy_module():
    code = (
        "import sys; import realm.cli.main, realm.cli.run; "
        "import json; print(json.dumps(sorted(sys.modules)))"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    loaded = set(json.loads(process.stdout))
    heavy = {"numpy", "wasmtime", "tokenizers", "jinja2", "subprocess", "zipfile", "urllib.request"}
    assert loaded & heavy == set()
