"""The network of a trial: the checkpoint's body, read once in a process and copied, under a fresh head."""

from __future__ import annotations

import copy
import inspect
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from hpsearch.errors import one_line, show
from hpsearch.streams import GlobalGenerators
from hpsearch.tasks.glue.checkpoint import Checkpoint, load_config
from hpsearch.tasks.glue.quiet import library, quiet
from hpsearch.tasks.protocol import DataError

Fresh = tuple[str, ...]  # names of the modules that are initialised for each trial


class Network(nn.Module):
    """Token ids and segments, both (B, T) -> logits (B, classes). segments: 0 where padded, else 1 + the token type."""

    def __init__(self, classifier: Any, token_types: bool) -> None:
        super().__init__()
        self.classifier, self.token_types = classifier, token_types

    def forward(self, ids: Tensor, segments: Tensor) -> Tensor:
        types = {"token_type_ids": (segments.long() - 1).clamp_min(0)} if self.token_types else {}
        found = self.classifier(input_ids=ids.long(), attention_mask=(segments > 0).long(), **types)
        logits: Tensor = found.logits
        return logits


def network(checkpoint: Checkpoint, classes: int, dropout: float | None) -> Network:
    """A copy of the pretrained body; what the checkpoint does not hold is drawn from torch's global generator.

    A head that the checkpoint does hold (it was fine-tuned before) is drawn afresh too.
    """
    pretrained, fresh = _pretrained(checkpoint, classes, dropout)
    classifier = copy.deepcopy(pretrained)
    for name in fresh:
        classifier._init_weights(classifier.get_submodule(name))
    takes_types = "token_type_ids" in inspect.signature(classifier.forward).parameters
    return Network(classifier, takes_types and getattr(classifier.config, "type_vocab_size", 2) > 1)


def dropouts(config: Any) -> dict[str, float]:
    """The dropout probabilities of a configuration by their names, which differ between architectures."""
    return {
        name: value
        for name, value in vars(config).items()
        if ("dropout" in name or name.endswith(("_pdrop", "_drop"))) and type(value) in (int, float)
    }


@lru_cache(maxsize=1)
def _pretrained(checkpoint: Checkpoint, classes: int, dropout: float | None) -> tuple[Any, Fresh]:
    transformers = library("transformers", "checkpoint")
    config = load_config(checkpoint.folder, checkpoint.folder)
    config.num_labels, config.pad_token_id = classes, checkpoint.padding
    if dropout is not None:
        for name in dropouts(config):
            setattr(config, name, dropout)  # one that is null follows another
    # Its draws must not shift the trial's: the next trial finds the weights in the cache. Attention is left to
    # transformers, which takes torch's scaled_dot_product_attention for every architecture that can.
    with quiet("transformers"), GlobalGenerators(0).swapped():
        try:
            model, report = transformers.AutoModelForSequenceClassification.from_pretrained(
                checkpoint.folder,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                ignore_mismatched_sizes=True,  # a head for another number of classes
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
        except Exception as error:  # whatever the weights lead to
            problem = f"the weights of {show(checkpoint.folder)} cannot be read: {one_line(error, 160)}"
            raise DataError("checkpoint", problem, "download or save it again") from None
    return model, _fresh(model, report, checkpoint.folder)


def _fresh(model: Any, report: dict[str, Any], folder: str) -> Fresh:
    """The modules of the head, and a pooler that the checkpoint lacks. Raises DataError where the body is not whole."""
    body = model.base_model_prefix + "."
    absent = {name for name in report["missing_keys"]} | {str(entry[0]) for entry in report["mismatched_keys"]}
    parameters = dict(model.named_parameters())
    lost = [name for name in parameters if name in absent and name.startswith(body) and ".pooler." not in name]
    if lost:
        problem = f"the weights of {show(folder)} lack {lost[0]}" + (f" and {len(lost) - 1} more" if lost[1:] else "")
        raise DataError("checkpoint", problem, "give the weights that belong to its config.json")
    drawn = {name for name in parameters if name in absent or not name.startswith(body)}
    # Containers too: some architectures initialise a head as a whole.
    inside = {
        module: {name for name in parameters if name.startswith(f"{module}.")} for module, _ in model.named_modules()
    }
    return tuple(module for module, names in inside.items() if names and names <= drawn)
