"""The shared optimizer core: pure functions on lists of tensors, and the SharpnessAware shell that calls them."""

from hpsearch.optim.sharpness_aware import SharpnessAware

__all__ = ["SharpnessAware"]
