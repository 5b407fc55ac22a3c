"""Arguments that fit, for every function of the contract, also for those that come later.

They suit a guest of `modules.program` that holds model 1 and session 1.
"""

from __future__ import annotations

from attacks.programs.modules import ID_COUNT, IDS_AT, NAME_AT, NAME_BYTES, ROOM_AT
from realm.runtime.contract import HostFunction, Parameter

OUT_LENGTH = 4096
_BY_NAME = {
    "model_id": 1,
    "session": 1,
    "level": 1,
    "params_ptr": 0,
    "options_ptr": 0,
    "token_ids_len": ID_COUNT,
    "token_count": ID_COUNT,
    "count": ID_COUNT,
    "out_max_len": OUT_LENGTH,
    "out_len": OUT_LENGTH,
}


def arguments_of(function: HostFunction, **changed: int) -> list[int]:
    """One number a parameter; `changed` by name."""
    return [changed.get(p.name, _plausible(p)) for p in function.parameters]


def _plausible(parameter: Parameter) -> int:
    name = parameter.name
    if name in _BY_NAME:
        return _BY_NAME[name]
    if parameter.kind == "pointer":
        if name.startswith("out_"):
            return ROOM_AT
        return IDS_AT if "ids" in name else NAME_AT
    return NAME_BYTES if parameter.kind == "length" else 0
