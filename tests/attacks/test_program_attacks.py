"""Every hostile program ends as its row says, leaves nothing, and changes no neighbour's answer."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator

import pytest
from attacks.programs import adapters, errors
from attacks.programs.attack import ProgramAttack
from attacks.programs.ground import HONEST_COUNT, Ground, Leftovers
from attacks.programs.growth_attacks import MEMORY
from attacks.programs.modules import PREFILLED, call, endlessly, program, text_at
from attacks.programs.plausible import arguments_of
from attacks.programs.pointer_attacks import POINTERS, edges
from attacks.programs.table import ATTACKS
from attacks.programs.trap_attacks import TRAPS
from tests.tiny_model import TinyModel

from realm.errors import GuestError, RealmError
from realm.runtime import GenerationResult, TenantRuntime
from realm.runtime.contract import HOST_FUNCTIONS

PROMPTS = [f"honest {number} {'word ' * number}" for number in range(HONEST_COUNT)]
TOKENS = 12
SPARE_MAPS = 8


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    path = TinyModel().write(tmp_path_factory.mktemp("ground") / "tiny.gguf")
    with Ground(path, adapter_folder=tmp_path_factory.mktemp("adapters")) as opened:
        yield opened


@pytest.fixture(scope="module")
def alone(ground: Ground) -> list[tuple[int, ...]]:
    """What honest tenants get while nobody else is there."""
    found = [ground.honest(f"alone-{n}", prompt, TOKENS) for n, prompt in enumerate(PROMPTS)]
    assert len(set(found)) == HONEST_COUNT
    return found


@pytest.fixture(scope="module")
def clean(ground: Ground, alone: list[tuple[int, ...]]) -> Leftovers:
    """The ground before the first attack."""
    found = ground.leftovers()
    assert found.free_guests == ground.host.limits.guest_count
    assert found.sequences == 0
    return found


def check_end(attack: ProgramAttack, end: GenerationResult | RealmError) -> None:
    if attack.error is None:
        assert isinstance(end, GenerationResult), repr(end)
        assert end.text == ""
    else:
        assert type(end) is attack.error, repr(end)
        assert attack.place in str(end)
        assert str(end).isprintable()
        assert len(str(end)) < 4_000


def check_clean(found: Leftovers, clean: Leftovers) -> None:
    assert found.sequences == found.adapter_uses == 0
    assert found.free_pages == clean.free_pages
    assert found.free_guests == clean.free_guests


def test_the_table() -> None:
    assert len(ATTACKS) >= 200
    assert max(Counter(attack.name for attack in ATTACKS).values()) == 1


def test_every_function_with_a_pointer_is_attacked_in_both_widths() -> None:
    for function in HOST_FUNCTIONS:
        kinds = {parameter.kind for parameter in function.parameters}
        names = [a.name for a in POINTERS if f": {function.name} " in a.name]
        assert len(names) == (2 if kinds & {"pointer", "length"} else 0)
        assert any(a.name == f"trap after {function.name}" for a in TRAPS)
        for wide in (False, True):
            for row in edges(function, wide=wide):
                assert row != arguments_of(function)
                assert all(-(2**31) <= number < 2**64 for number in row)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_attack(
    ground: Ground, alone: list[tuple[int, ...]], clean: Leftovers, attack: ProgramAttack
) -> None:
    if attack in POINTERS:  # many, and all of one kind; the crowd below has some of them
        check_end(attack, ground.attack(attack))
    else:
        end, honest = ground.attack_beside(attack, PROMPTS, TOKENS)
        check_end(attack, end)
        assert honest == alone
    check_clean(ground.leftovers(), clean)


def test_attacks_again_and_again_leave_no_map(ground: Ground, clean: Leftovers) -> None:
    chosen = (*MEMORY, *TRAPS[:8])
    for attack in chosen:
        ground.attack(attack)
    before = ground.leftovers(collect=True).maps
    for _ in range(20):
        for attack in chosen:
            check_end(attack, ground.attack(attack))
    after = ground.leftovers(collect=True)
    check_clean(after, clean)
    assert after.maps <= before + SPARE_MAPS


@pytest.mark.parametrize("function", HOST_FUNCTIONS, ids=lambda function: function.name)
def test_a_request_may_be_cancelled_at_any_moment(
    ground: Ground, clean: Leftovers, function
) -> None:
    """Also while its guest is parked in this function."""
    body = endlessly(call(function.name, *arguments_of(function)))
    source = program(f"{PREFILLED} {call('realm_stream_token', 16, 4)} drop {body} (i32.const 0)")
    tenant = ground.tenant("hostile", ground.compile(source))
    stream = tenant.stream("x", max_tokens=64, seed=1)
    assert next(stream).text == "tiny"
    stream.close()
    assert stream.result.finish_reason == "cancelled"
    check_clean(ground.leftovers(), clean)


def test_a_request_may_be_cancelled_while_its_adapter_loads(
    ground: Ground, clean: Leftovers
) -> None:
    """ELSEWHERE is read anew at each call, so that most cancellations meet a load."""
    name = adapters.ELSEWHERE
    flood = endlessly(call("realm_set_lora_adapter", 1, 256, len(name)))
    body = f"{PREFILLED} {text_at(256, name)} {call('realm_stream_token', 16, 4)} drop {flood}"
    tenant = ground.tenant(adapters.HOSTILE, ground.compile(program(f"{body} (i32.const 0)")))
    for _ in range(20):
        stream = tenant.stream("x", max_tokens=64, seed=1)
        assert next(stream).text == "tiny"
        stream.close()
        assert stream.result.finish_reason == "cancelled"
        check_clean(ground.leftovers(), clean)


def test_every_second_neighbour_has_an_adapter(
    ground: Ground, alone: list[tuple[int, ...]]
) -> None:
    plain = [ground.honest("nobody", prompt, TOKENS) for prompt in PROMPTS]
    assert [a != b for a, b in zip(alone, plain, strict=True)] == [False, True] * 4


def test_a_crowd_of_attacks_at_once(
    ground: Ground, alone: list[tuple[int, ...]], clean: Leftovers
) -> None:
    """More attackers than there are guests, all different, and the honest among them."""
    chosen = ATTACKS[::6]
    assert len(chosen) > ground.host.limits.guest_count
    ends: dict[str, GenerationResult | RealmError] = {}

    def run(attack: ProgramAttack) -> None:
        ends[attack.name] = ground.attack(attack)

    attackers = [threading.Thread(target=run, args=(attack,)) for attack in chosen]
    for attacker in attackers:
        attacker.start()
    honest = [ground.honest(f"honest-{n}", prompt, TOKENS) for n, prompt in enumerate(PROMPTS)]
    for attacker in attackers:
        attacker.join()
    assert honest == alone
    for attack in chosen:
        check_end(attack, ends[attack.name])
    check_clean(ground.leftovers(), clean)


def test_no_error_reaches_another_tenant(ground: Ground, clean: Leftovers) -> None:
    tally = errors.run(ground, 16, 2_000)
    assert tally.strays == []
    assert tally.classes.total() == 2_000
    assert set(tally.classes) == {
        "GuestError",
        "GuestTrapError",
        "GuestLimitError",
        "GuestContractError",
        "ContextLengthError",
        "none",
    }
    check_clean(ground.leftovers(), clean)


def test_an_error_that_goes_astray_is_found(ground: Ground, monkeypatch) -> None:
    one = GuestError("no model 'mark-000-0000000'")

    def always_the_same(self: TenantRuntime, prompt: str, **_: object) -> GenerationResult:
        raise one

    monkeypatch.setattr(TenantRuntime, "generate", always_the_same)
    tally = errors.run(ground, 2, 20)
    assert tally.stray_count == 20
    assert len(tally.strays) == 10
