"""A line of trials.jsonl -> its values, each of the kind that it must be, whoever has written it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from hpsearch.errors import show

TORN = "not a whole result (a write was cut off here)"
_NONE = type(None)
_NEEDED: Mapping[str, tuple[type, ...]] = {
    "trial_id": (str,),
    "configuration_id": (str,),
    "arm": (str,),
    "params": (dict,),
    "fixed": (dict,),
    "seed": (int,),
    "sampling": (dict,),
    "status": (str,),
}
_KINDS: Mapping[str, tuple[type, ...]] = {
    **_NEEDED,
    "epochs": (int, _NONE),
    "epochs_planned": (int, _NONE),
    "metrics": (dict,),
    "cost": (dict,),
    "curve": (dict,),
    "error": (str, _NONE),
    "stopping": (dict, _NONE),
    "attempt": (int,),
    "host": (str, _NONE),
    "device": (str, _NONE),
    "threads": (int, _NONE),
    "engine": (dict,),
    "bundle": (dict, _NONE),
    "concurrent": (int, _NONE),
    "versions": (dict,),
    "started": (str, _NONE),
    "seconds_waiting": (int, float, _NONE),
}
_SAMPLING: Mapping[str, tuple[type, ...]] = {
    "phase": (int,),
    "index": (int,),
    "sampler": (str,),
    "generation": (int, _NONE),
    "confirm": (bool,),
}
_BUNDLE: Mapping[str, tuple[type, ...]] = {"key": (str,), "trials": (int,), "together": (bool,)}
_INSIDE: Mapping[str, tuple[type, ...]] = {  # of the values in a mapping
    "params": (str, int, float, bool, _NONE),
    "fixed": (str, int, float, bool, _NONE),
    "metrics": (int, float, _NONE),
    "cost": (int, float, _NONE),
    "curve": (list,),
}


class _ConstantError(ValueError):
    pass


def _refuse(name: str) -> NoReturn:
    raise _ConstantError(f"not a result: it holds {name}, which is no JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse)


def parse_line(line: bytes) -> dict[str, Any]:
    """Keys that are not known are left as they are. Raises ValueError, which says what is wrong."""
    try:
        data = _DECODER.decode(line.decode())
    except (ValueError, RecursionError) as error:
        if isinstance(error, _ConstantError):
            raise
        raise ValueError(TORN) from None
    if type(data) is not dict:
        raise ValueError(f"not a result: {show(data)}")
    missing = _NEEDED.keys() - data.keys()
    if missing:
        raise ValueError(f"not a result: it has no {', '.join(sorted(missing))}")
    _check(data, _KINDS, "")
    for name, kinds in _INSIDE.items():
        for key, value in data.get(name, {}).items():
            if type(value) not in kinds:
                raise ValueError(f"not a result: {name}.{key} is {show(value)}")
    for name, parts in (("sampling", _SAMPLING), ("bundle", _BUNDLE)):
        if data.get(name) is None:
            continue
        absent = parts.keys() - data[name].keys()
        if absent:
            raise ValueError(f"not a result: {name} has no {', '.join(sorted(absent))}")
        _check(data[name], parts, f"{name}.")
    return data


def _check(data: Mapping[str, Any], kinds: Mapping[str, tuple[type, ...]], where: str) -> None:
    for name, allowed in kinds.items():
        if name in data and type(data[name]) not in allowed:  # a bool is no whole number here
            raise ValueError(f"not a result: {where}{name} is {show(data[name])}")
