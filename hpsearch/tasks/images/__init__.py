"""cifar10, cifar100, fashion_mnist, and images: any image classification set, from the hub or from files."""

from hpsearch.tasks.images.any_set import Images
from hpsearch.tasks.images.known import Cifar10, Cifar100, FashionMnist
from hpsearch.tasks.images.task import ImageClassification

__all__ = ["Cifar10", "Cifar100", "FashionMnist", "ImageClassification", "Images"]
