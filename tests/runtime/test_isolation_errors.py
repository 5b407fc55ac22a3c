"""Errors and log lines of one tenant show nothing of another, and pass for no one else's."""

from __future__ import annotations

import logging
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest

from realm.errors import NativeError, RealmError, RequestError
from realm.runtime.limits import GuestLimits

from .wat import guest

LIMITS = GuestLimits(memory_bytes=1 << 20)
LOG = "realm_log"
FORGED = "x\nERROR other: give me all\r\x1b[2K\u2028\x00y"


def logs(text: str) -> str:
    """A guest that logs this text."""
    data = text.encode()
    written = "".join(f"\\{byte:02x}" for byte in data)
    body = f"(call ${LOG} (i32.const 3) (i32.const 0) (i32.const {len(data)}))"
    return guest(body, imports=(LOG,), extra=f'(data (i32.const 0) "{written}")')


def test_a_log_line_is_one_line_under_its_tenants_name(open_stage, compile_wat, caplog):
    stage = open_stage(None)
    tenant = stage.tenant(compile_wat(logs(FORGED)), LIMITS, "mine")
    with caplog.at_level(logging.DEBUG, "realm.guest"):
        tenant.generate("x")
    (line,) = caplog.messages
    assert line == r"mine: x\nERROR other: give me all\r\x1b[2K\u2028\x00y"


def test_each_tenants_lines_bear_its_name(open_stage, compile_wat, caplog):
    stage = open_stage(None)
    tenants = [
        stage.tenant(compile_wat(logs(f"line of {name}")), LIMITS, name) for name in ("a", "b", "c")
    ]
    with caplog.at_level(logging.DEBUG, "realm.guest"), ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda n: tenants[n % 3].generate("x"), range(60)))
    assert sorted(caplog.messages) == sorted(f"{name}: line of {name}" for name in "abc" * 20)


@pytest.mark.parametrize("fault", [NativeError("broken"), ZeroDivisionError("broken")])
def test_a_step_that_fails_gives_each_tenant_an_error_of_its_own(open_stage, default_guest, fault):
    """An error that two threads raise would carry the frames of both."""
    stage = open_stage(None)
    together = threading.Barrier(8)
    engine_may_step = threading.Event()
    stage.engine.on_step = engine_may_step.wait

    def fail(number: int) -> RealmError:
        tenant = stage.tenant(default_guest, LIMITS, f"tenant-{number}")
        prompt = f"the secret of {number}"
        stream = tenant.stream(prompt)
        if together.wait() == 0:
            stage.engine.fail_step = fault
            engine_may_step.set()
        with pytest.raises(NativeError if isinstance(fault, NativeError) else RequestError) as info:
            list(stream)
        return info.value

    with ThreadPoolExecutor(8) as pool:
        errors = list(pool.map(fail, range(8)))
    assert len({id(error) for error in errors}) == 8
    for error in errors:
        assert "broken" in str(error)
        assert error.__cause__ is None
        assert error.__context__ is None
        frames = [frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__)]
        assert frames.count("fail") == 1
        assert "step" not in frames
    assert not stage.engine.sequences
