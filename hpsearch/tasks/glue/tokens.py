"""Rows as padded tensors of token ids: tokenised once in a process, cropped to a batch's longest in training."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain

import torch
from torch import Tensor

from hpsearch.streams import generator
from hpsearch.tasks.glue.checkpoint import Checkpoint, load_tokenizer
from hpsearch.tasks.glue.quiet import quiet
from hpsearch.tasks.glue.samples import Rows, Source, read
from hpsearch.tasks.glue.sets import SETS
from hpsearch.tasks.protocol import Batch, Data

MULTIPLE = 8  # widths are rounded up to it: few shapes, and those that GPUs like
CHUNK = 8192  # texts at a time: what the tokenizer returns holds far more than ids


def crop(batch: Batch, length: int) -> Batch:
    """(ids, segments, labels) cut to `length` tokens, rounded up to a multiple of 8: (B, T) -> (B, at most T)."""
    width = -(-length // MULTIPLE) * MULTIPLE
    return batch[0][:, :width], batch[1][:, :width], batch[2]


def split_sizes(rows: int, validation: int | None, subset: int | None) -> tuple[int, int]:
    """(training, validation) samples out of the hub's training rows. By default a tenth is held out, at most 2000."""
    held = min(2000, max(1, rows // 10)) if validation is None else validation
    return (rows - held if subset is None else subset), held


@lru_cache(maxsize=2)
def tokenised(origin: Source, checkpoint: Checkpoint, max_length: int, sizes: tuple[int, int]) -> Data:
    """The three splits of (ids (N, T) int32, segments (N, T) int8, labels (N,)).

    Which training rows are held out for validation is one fixed draw, whatever the seed; a smaller subset is part of
    a larger one. Validation and test are sorted by length, so that what is evaluated together is cropped together.
    """
    train_rows, test_rows = read(origin)
    order = torch.randperm(len(train_rows.labels), generator=generator(0, "glue split", origin.dataset)).tolist()
    samples, held = sizes
    chosen = {
        "train": (train_rows, order[held : held + samples]),
        "val": (train_rows, order[:held]),
        "test": (test_rows, list(range(len(test_rows.labels)))),
    }
    kind = torch.float32 if SETS[origin.dataset].classes == 1 else torch.int64
    splits: dict[str, Batch] = {}
    lengths: dict[str, Tensor] = {}
    with quiet("transformers"):
        for name, (rows, wanted) in chosen.items():
            ids, segments, lengths[name] = _tokenise(rows, wanted, checkpoint, max_length)
            labels = torch.tensor([rows.labels[row] for row in wanted], dtype=kind)
            if name != "train":
                by_length = lengths[name].argsort(stable=True)
                ids, segments, labels = ids[by_length], segments[by_length], labels[by_length]
                lengths[name] = lengths[name][by_length]
            splits[name] = (ids, segments, labels)
    return Data(splits["train"], splits["val"], splits["test"], lengths)


def _tokenise(rows: Rows, wanted: Sequence[int], checkpoint: Checkpoint, max_length: int) -> tuple[Tensor, ...]:
    """ids (N, T), segments (N, T), lengths (N,).

    segments: 0 where padded, else 1 + the token's type (which of two texts it is of), so that it is the attention
    mask too. A mask told by the ids would fall for a text in which the padding token is written out.
    """
    tokenizer = load_tokenizer(checkpoint)
    ids: list[list[int]] = []
    types: list[list[int]] = []
    for first in range(0, len(wanted), CHUNK):
        texts = [[column[row] for row in wanted[first : first + CHUNK]] for column in rows.texts]
        found = tokenizer(*texts, truncation=True, max_length=max_length, return_attention_mask=False)
        ids += [sample or [checkpoint.padding] for sample in found["input_ids"]]  # an empty text, no special tokens
        types += found.get("token_type_ids", ())
    lengths = torch.tensor([len(sample) for sample in ids])
    width = min(max_length, -(-int(lengths.max()) // MULTIPLE) * MULTIPLE)
    there = torch.arange(width) < lengths[:, None]  # (N, T)
    padded = torch.full(there.shape, checkpoint.padding, dtype=torch.int32)
    padded[there] = torch.tensor(list(chain.from_iterable(ids)), dtype=torch.int32)
    segments = there.to(torch.int8)
    if types:
        segments[there] += torch.tensor(list(chain.from_iterable(sample or [0] for sample in types)), dtype=torch.int8)
    return padded, segments, lengths
