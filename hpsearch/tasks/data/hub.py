"""Image sets of the Hugging Face hub, through the library datasets (the extra "data")."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hpsearch.errors import one_line
from hpsearch.tasks.data.roles import by_role
from hpsearch.tasks.protocol import DataError

INSTALL = 'pip install "hpsearch[data]"'


def fetch(dataset: str, config: str | None, revision: str | None, option: str) -> dict[str, Any]:
    """datasets.Dataset by split (train, validation, test), with the columns as stored: images still encoded.

    option: the task's option that a DataError names. No code of the data set is run: datasets has no such way.
    """
    with _quick_when_offline():
        try:
            import datasets  # type: ignore[import-untyped]
        except ImportError:
            raise DataError(
                option, f"{dataset} comes from the hub, which needs the library datasets", INSTALL
            ) from None
        try:
            found = datasets.load_dataset(dataset, config, revision=revision)
        except Exception as error:  # of four libraries, with as many bases
            raise _told(error, dataset, config, option) from None
    splits = {split: names[0] for split, names in by_role(found).items()}
    if "train" not in splits:
        if len(found) > 1:
            raise DataError(option, f"{dataset} has no training set (splits: {', '.join(found)})", "give another")
        splits = {"train": next(iter(found))}
    return {split: _encoded(found[name], datasets) for split, name in splits.items()}


def _encoded(split: Any, datasets: Any) -> Any:
    images = [name for name, feature in split.features.items() if isinstance(feature, datasets.Image)]
    for name in images:
        split = split.cast_column(name, datasets.Image(decode=False))
    return split


def _told(error: Exception, dataset: str, config: str | None, option: str) -> DataError:
    local = "fetch its parquet files where there is a network, and give their folder as path"
    if type(error).__name__ == "DatasetNotFoundError":
        return DataError(option, f"the hub has no data set {dataset!r} that this user may read", "check its name")
    if isinstance(error, (ConnectionError, TimeoutError)) or "offline" in str(error).lower():
        return DataError(option, f"{dataset} is not on this machine, and the hub cannot be reached", local)
    if isinstance(error, ValueError) and ("config" in str(error).lower() or "builder" in str(error).lower()):
        problem = f"{dataset} has no config {config!r}" if config else f"{dataset} has several configs"
        return DataError("config" if option == "dataset" else option, problem, one_line(error, 300))
    return DataError(option, f"{dataset} could not be loaded ({type(error).__name__}: {one_line(error, 200)})", local)


@contextmanager
def _quick_when_offline() -> Iterator[None]:
    """Without a network the hub's client tries for 20 seconds and more; told beforehand, it looks at its cache at once.

    It reads its settings when it is first imported; the environment is put back.
    """
    proxied = any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"))
    if proxied or "HF_HUB_OFFLINE" in os.environ or "huggingface_hub" in sys.modules:
        yield
        return
    host = os.environ.get("HF_ENDPOINT", "https://huggingface.co").split("//")[-1].split("/")[0].split(":")[0]
    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        yield
    finally:
        os.environ.pop("HF_HUB_OFFLINE", None)
