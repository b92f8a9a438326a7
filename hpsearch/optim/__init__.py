"""The shared optimizer core: pure functions on lists of tensors, and the SharpnessAware shell that calls them."""

from hpsearch.optim.gsam import GSAM
from hpsearch.optim.methods import METHODS
from hpsearch.optim.sharpness_aware import SharpnessAware

__all__ = ["GSAM", "METHODS", "SharpnessAware"]
