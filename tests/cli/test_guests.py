"""`realm guests`: a program from its template to its answer, and what is said about wrong ones."""

import json
import shutil

import pytest
from tests.guests.components import component

from realm.cli import guest_compiler
from realm.errors import NotSupportedError
from realm.runtime import GuestLimits, HostLimits
from realm.runtime.program import GuestHost, default_program


@pytest.fixture(autouse=True)
def own_home(monkeypatch, tmp_path):
    """Compiled programs are kept nowhere else."""
    monkeypatch.setenv("REALM_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The template's program."""
    folder = tmp_path_factory.mktemp("template")
    sources = sorted((guest_compiler.sdk_directory() / "template").glob("*.c"))
    guest_compiler.compile_guest(sources, folder / "program.wasm")
    return folder / "program.wasm"


def write_c(folder, text):
    path = folder / "mine.c"
    path.write_text(f'#include "realm.h"\n{text}\n', encoding="utf-8")
    return path


HANDLE = "int32_t realm_handle(const char* request, size_t size) { (void)request; (void)size; "


def test_new_build_check(realm, tmp_path):
    folder = tmp_path / "mine"
    assert realm("guests", "new", folder).code == 0
    assert (folder / "program.c").is_file()
    assert realm("guests", "new", folder).stderr == f"error: {folder} is not empty\n"
    built = json.loads(realm("guests", "build", folder, "--json").stdout)
    assert built["path"] == str(folder / "program.wasm")
    assert (folder / "program.wasm").stat().st_size == built["size_bytes"]
    outcome = realm("guests", "check", folder / "program.wasm")
    assert outcome.code == 0
    assert "wasm32" in outcome.stdout
    assert "fits     yes" in outcome.stdout
    assert "env.realm_session_sample" in outcome.stdout


def test_wide_programs(realm, tmp_path):
    source = write_c(tmp_path, HANDLE + "return realm_now_ms(); }")
    output = tmp_path / "wide.wasm"
    assert realm("guests", "build", source, "--wide", "-o", output).code == 0
    report = json.loads(realm("guests", "check", output, "--json").stdout)
    assert report["address_bits"] == 64
    assert report["fits"]


def test_check_tells_everything_that_is_wrong_at_once(realm, tmp_path):
    source = write_c(
        tmp_path,
        "REALM_IMPORT(realm_session_simple)(int32_t session);\n"
        '__attribute__((import_module("env"), import_name("realm_log"))) int32_t logs(int64_t x);\n'
        '__attribute__((import_module("wasi"), import_name("fd_write"))) int32_t writes(void);\n'
        '__attribute__((export_name("realm_handel"))) int32_t handle(const char* p, size_t n) '
        "{ (void)p; (void)n; return realm_session_simple(logs(1) + writes()); }",
    )
    output = tmp_path / "wrong.wasm"
    assert realm("guests", "build", source, "-o", output).code == 0
    outcome = realm("guests", "check", output, "--json")
    assert outcome.code == 1
    problems = "\n".join(json.loads(outcome.stdout)["problems"])
    assert "env.realm_session_simple: not offered" in problems
    assert "is realm_session_sample meant?" in problems
    assert "env.realm_log: declared as (i64) -> (i32), must be realm_log(level: i32" in problems
    assert "wasi.fd_write: only module 'env' is offered" in problems
    assert "export realm_handle: missing (there is realm_handel)" in problems
    assert len(problems.splitlines()) == 4
    text = realm("guests", "check", output)
    assert text.stdout.count("problem") == 4
    assert "yes" not in text.stdout


def test_check_refuses_what_is_no_program(realm, tmp_path):
    path = tmp_path / "text.wasm"
    path.write_text("no program", encoding="utf-8")
    outcome = realm("guests", "check", path)
    assert (outcome.code, outcome.stdout) == (1, "")
    assert outcome.stderr.startswith("error: ")
    assert "cannot be read" in realm("guests", "check", tmp_path / "nothing").stderr


def test_check_tells_the_memory(realm, tmp_path):
    path = tmp_path / "default.wasm"
    path.write_bytes(default_program())
    report = json.loads(realm("guests", "check", path, "--json").stdout)
    assert report["memory_bytes"] >= 1 << 16
    assert report["memory_maximum_bytes"] is None
    assert report["size_bytes"] == len(default_program())
    assert report["limits"]["memory_bytes"] == GuestLimits().memory_bytes


def test_the_compiler_s_words_reach_the_user(realm, tmp_path):
    source = write_c(tmp_path, HANDLE + "return undeclared_name; }")
    outcome = realm("guests", "build", source)
    assert outcome.code == 1
    assert "undeclared_name" in outcome.stderr
    assert "mine.c:2" in outcome.stderr
    assert realm("guests", "build", tmp_path / "none.c").code == 1


def test_without_zig_another_clang_is_taken(monkeypatch):
    monkeypatch.setattr(guest_compiler.importlib.util, "find_spec", lambda name: None)
    here = {"clang-14": "/bin/clang-14", "wasm-ld-14": "/bin/wasm-ld-14"}
    monkeypatch.setattr(shutil, "which", here.get)
    command = guest_compiler.compiler_command(wide=True)
    assert command[:3] == ["/bin/clang-14", "--target=wasm64", "-fuse-ld=/bin/wasm-ld-14"]
    del here["wasm-ld-14"]
    with pytest.raises(NotSupportedError, match="pip install ziglang"):
        guest_compiler.compiler_command()


def test_run_sends_one_request_through_the_program(realm, runtime, model_file, built):
    outcome = realm(
        *("guests", "run", built, "--model", model_file, "--prompt", "Capital of France?"),
        *("--chat", "--limit", "sessions=2", "--limit", "compute_seconds=0.5", "--seed", "7"),
    )
    assert outcome.code == 0
    assert outcome.stdout == "Paris.\n"
    assert "6 tokens" in outcome.stderr
    assert runtime.program == built.read_bytes()
    assert runtime.limits == GuestLimits(sessions=2, compute_seconds=0.5)
    assert runtime.requests[0]["messages"] == [{"role": "user", "content": "Capital of France?"}]
    assert runtime.requests[0]["seed"] == 7
    assert runtime.closed


def test_run_as_json(realm, model_file, built):
    outcome = realm("guests", "run", built, "--model", model_file, "-p", "x", "--json")
    document = json.loads(outcome.stdout)
    assert document["text"] == "Paris."
    assert document["response"] is None


@pytest.mark.parametrize(
    "limit",
    [
        "sessions",
        "sessions=x",
        "sessions=1.5",
        "tokens=inf",
        "compute_seconds=nan",
        "wings=2",
        "=1",
    ],
)
def test_a_limit_that_is_none_is_wrong_usage(realm, model_file, built, limit):
    words = ("guests", "run", built, "--model", model_file, "-p", "x", "--limit", limit)
    assert realm(*words).code == 2


def test_a_limit_out_of_range_is_an_error(realm, model_file, built):
    words = ("guests", "run", built, "--model", model_file, "-p", "x", "--limit", "sessions=0")
    assert realm(*words).stderr == "error: sessions must be > 0, not 0\n"


@pytest.fixture
def assembled(tmp_path):
    """assembled(name, text) -> the file of a component."""
    host = GuestHost(HostLimits(guest_count=1, components=1)).component_tier().host

    def write(name, text):
        (tmp_path / name).write_bytes(host.wat_to_wasm(text))
        return tmp_path / name

    return write


def test_check_and_run_a_component(realm, runtime, model_file, assembled):
    path = assembled("fits.wasm", component(imports=("send",)))
    outcome = realm("guests", "check", path)
    assert outcome.code == 0
    assert "component" in outcome.stdout
    assert "realm:guest/host@1.0.0.send" in outcome.stdout
    words = ("guests", "run", path, "--model", model_file, "-p", "x")
    assert realm(*words).code == 0
    assert runtime.host_limits.components == 1


def test_check_tells_what_a_component_lacks(realm, assembled):
    path = assembled("wrong.wasm", component(export="handles"))
    outcome = realm("guests", "check", path, "--json")
    assert outcome.code == 1
    assert json.loads(outcome.stdout)["problems"] == ["export handle: missing"]
