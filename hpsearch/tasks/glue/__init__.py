"""glue: a checkpoint of `transformers` is fine-tuned on one of the GLUE sets (Wang et al. 2018, arXiv 1804.07461)."""

from hpsearch.tasks.glue.task import Glue

__all__ = ["Glue"]
