"""The text libraries without their progress bars, log lines and deprecation warnings, for as long as we call them."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from hpsearch.tasks.protocol import DataError

INSTALL = 'pip install "hpsearch[text]"'


def library(name: str, option: str) -> ModuleType:
    """Imports a library of the text extra. Raises DataError that says how to install it; `option` is what needs it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise DataError(option, f"{error.name or name} is not installed", INSTALL) from None


@contextmanager
def quiet(name: str) -> Iterator[None]:
    """Silences the library (transformers or datasets) and the hub's; gives them their voice back at the end."""
    hub, bars = importlib.import_module("huggingface_hub.utils"), importlib.import_module(f"{name}.utils.logging")
    loggers = (hub.logging, bars)
    verbosity = [logger.get_verbosity() for logger in loggers]
    had_bars, hub_had_bars = bars.is_progress_bar_enabled(), not hub.are_progress_bars_disabled()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for logger in loggers:
                logger.set_verbosity(logger.CRITICAL)
            bars.disable_progress_bar()
            hub.disable_progress_bars()
            yield
    finally:
        for logger, level in zip(loggers, verbosity, strict=True):
            logger.set_verbosity(level)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the hub warns where an environment variable decides
            if had_bars:
                bars.enable_progress_bar()
            (hub.enable_progress_bars if hub_had_bars else hub.disable_progress_bars)()
