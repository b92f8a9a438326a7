"""A checkpoint of `transformers`: found on the hub or in a folder, checked, its tokenizer and its configuration read.

Weights are read from safetensors alone and code that comes with a checkpoint is never run: neither can do harm.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from hpsearch.errors import one_line, show
from hpsearch.tasks.glue.files import Stamp, stamp
from hpsearch.tasks.glue.quiet import library, quiet
from hpsearch.tasks.glue.samples import OFFLINE
from hpsearch.tasks.protocol import DataError

TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "vocab.*", "*.model", "merges.txt", "special_tokens_map.json")
FILES = ("config.json", *TOKENIZER, "added_tokens.json", "*.safetensors", "*.safetensors.index.json")
OWN_CODE = "choose a checkpoint of an architecture that transformers has: code that comes with one is never run"


@dataclass(frozen=True)
class Checkpoint:
    """A folder that has all it needs. padding: the token id that fills up. longest: tokens that it can read."""

    folder: str
    files: Stamp
    padding: int
    longest: int


def find_checkpoint(name: str, revision: str | None) -> Checkpoint:
    """Raises DataError that says what the checkpoint lacks."""
    folder = locate(name, revision)
    try:
        files = checkpoint_files(folder)
        _check_weights(folder, name)
    except OSError as error:
        problem = f"{show(error.filename or str(folder), 200)} cannot be read: {one_line(error.strerror or error)}"
        raise DataError("checkpoint", problem, "give yourself permission to read it, or give another folder") from None
    config = load_config(str(folder), name)
    tokenizer = _load_tokenizer(str(folder), stamp(files), name)
    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    if padding is None:
        problem = f"the tokenizer of {show(name)} has neither a padding nor an end-of-text token"
        raise DataError("checkpoint", problem, "set its pad_token and save it again")
    vocabulary = getattr(config, "vocab_size", None)
    if isinstance(vocabulary, int) and len(tokenizer) > vocabulary:
        problem = f"the tokenizer of {show(name)} has {len(tokenizer)} tokens and the model {vocabulary} embeddings"
        raise DataError("checkpoint", problem, "give the tokenizer that the model was trained with")
    positions = getattr(config, "max_position_embeddings", None)
    longest = min(tokenizer.model_max_length, positions if isinstance(positions, int) and positions > 0 else 10**9)
    return Checkpoint(str(folder), stamp(files), int(padding), int(longest))


def locate(name: str, revision: str | None) -> Path:
    """The folder itself, or that of the hub's cache. What is whole in the cache is not asked for again, moved branch
    or not; only what it lacks is downloaded. Raises DataError.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", name) or folder.exists():
        problem = f"{show(name)} is not a folder, and no name of the hub either"
        raise DataError("checkpoint", problem, "give a folder that save_pretrained wrote, or a name such as org/name")
    hub = library("huggingface_hub", "checkpoint")
    with quiet("transformers"):
        cached = hub.try_to_load_from_cache(name, "config.json", revision=revision)
        if isinstance(cached, str) and not _lacks(Path(cached).parent):
            return Path(cached).parent
        try:
            # Patterns match below subfolders too, where other formats of the same weights lie.
            found = hub.snapshot_download(name, revision=revision, allow_patterns=list(FILES), ignore_patterns=["*/*"])
        except Exception as error:  # of many libraries: the hub's, the HTTP client's, the file system's
            at = f" at revision {show(revision)}" if revision else ""
            problem = f"{show(name)}{at} is not in the cache and cannot be downloaded: {one_line(error, 160)}"
            raise DataError("checkpoint", problem, OFFLINE) from None
    return Path(found)


def checkpoint_files(folder: Path) -> list[Path]:
    """The files that determine the model and its tokens; others (a model card, training state) do not."""
    return sorted({file for pattern in FILES for file in folder.glob(pattern) if file.is_file()})


def load_config(folder: str, name: str) -> Any:
    """A configuration of its own for each call. Raises DataError."""
    transformers = library("transformers", "checkpoint")
    _refuse_lack(Path(folder), name)
    with quiet("transformers"):
        try:
            config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except Exception as error:  # whatever a broken or foreign config.json leads to
            raise DataError("checkpoint", f"config.json of {show(name)}: {one_line(error, 160)}", OWN_CODE) from None
        if type(config) not in transformers.AutoModelForSequenceClassification._model_mapping:
            problem = f"{show(name)} is a {config.model_type}, which transformers has no sequence classifier for"
            raise DataError("checkpoint", problem, "give an encoder, e.g. distilbert/distilbert-base-uncased")
    return config


def load_tokenizer(checkpoint: Checkpoint) -> Any:
    return _load_tokenizer(checkpoint.folder, checkpoint.files, checkpoint.folder)


@lru_cache(maxsize=2)
def _load_tokenizer(folder: str, files: Stamp, name: str) -> Any:
    transformers = library("transformers", "checkpoint")
    with quiet("transformers"):
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
        except Exception as error:
            problem = f"the tokenizer of {show(name)} cannot be read: {one_line(error, 160)}"
            raise DataError("checkpoint", problem, "save it there again with tokenizer.save_pretrained") from None
    tokenizer.padding_side = tokenizer.truncation_side = "right"
    return tokenizer


def _lacks(folder: Path) -> str | None:
    """What of configuration, tokenizer and weights a folder has no file of."""
    if not (folder / "config.json").is_file():
        return "config.json"
    if not any(any(folder.glob(pattern)) for pattern in TOKENIZER if pattern != "special_tokens_map.json"):
        return "tokenizer files (tokenizer.json or a vocabulary)"
    if not any((folder / file).is_file() for file in ("model.safetensors", "model.safetensors.index.json")):
        return "model.safetensors"
    return None


def _refuse_lack(folder: Path, name: str) -> None:
    lacks = _lacks(folder)
    if lacks is None:
        return
    problem = f"{show(name)} has no {lacks}"
    remedy = "give a folder that model.save_pretrained and tokenizer.save_pretrained wrote"
    pickled = sorted(file.name for file in (*folder.glob("*.bin"), *folder.glob("*.h5"), *folder.glob("*.msgpack")))
    if lacks == "model.safetensors" and pickled:
        problem += f", only {pickled[0]}; pickled weights are never read"
        remedy = "convert them where you trust them: AutoModel.from_pretrained(…).save_pretrained(…)"
    raise DataError("checkpoint", problem, remedy)


def _check_weights(folder: Path, name: str) -> None:
    """Whether the safetensors files are there and whole; their headers are read, not their tensors."""
    _refuse_lack(folder, name)
    safetensors = library("safetensors", "checkpoint")
    index, files = folder / "model.safetensors.index.json", ["model.safetensors"]
    if not (folder / files[0]).is_file():
        try:
            files = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        except (ValueError, KeyError, AttributeError, TypeError):
            raise DataError("checkpoint", f"{index} is no index of weights", "download it again") from None
    for file in files:
        if not (folder / file).is_file():
            raise DataError("checkpoint", f"{show(name)} lacks {file}, which its index names", "download it again")
        (folder / file).open("rb").close()  # safetensors would not say that it may not be read
        try:
            with safetensors.safe_open(folder / file, "pt") as opened:
                opened.keys()
        except safetensors.SafetensorError as error:
            problem = f"{folder / file} is damaged: {one_line(error, 160)}"
            raise DataError("checkpoint", problem, "download or save it again") from None
