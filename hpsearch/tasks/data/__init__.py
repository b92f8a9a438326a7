"""Image sets: found as files or on the hub, decoded once into memory-mapped arrays, split the same way every time."""

from hpsearch.tasks.data.image_set import ImageSet, Recipe, load

__all__ = ["ImageSet", "Recipe", "load"]
