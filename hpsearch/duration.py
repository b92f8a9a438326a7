"""Durations, in and out: '8h' -> 28800.0 -> '8 h 00 min'."""

from __future__ import annotations

import re

from hpsearch.errors import InputError, show

_UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(text: str, option: str) -> float:
    """Seconds. Raises InputError that names the option."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|m|min|h|d)\s*", text)
    if not match or float(match[1]) <= 0:
        raise InputError(f"{option}: got {show(text)}; allowed: a number > 0 with s, m, h or d, e.g. 90m or 8h")
    return float(match[1]) * _UNITS[match[2]]


def format_duration(seconds: float) -> str:
    """75 -> '1 min 15 s'."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
