"""VGG-16 for small images (Simonyan & Zisserman 2015, arXiv 1409.1556), with normalisation and one linear layer."""

from __future__ import annotations

from torch import Tensor, nn

from hpsearch.tasks.networks.layers import Layers, convolution, halving, he_, mean_over_pixels

STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # (channels, convolutions); a max-pool ends each


def vgg16(channels: int, classes: int, layers: Layers) -> nn.Module:
    """(N, channels, H, W) -> (N, classes); 14,724,042 parameters at 3 channels, 10 classes, width 1.

    The usual CIFAR code has 14,728,266: its convolutions have biases too, which the normalisation takes away again.
    """
    return VGG16(channels, classes, layers)


class VGG16(nn.Module):
    """Thirteen convolutions, the mean, one linear layer.

    Without residuals, group normalisation wants a smaller learning rate than batch normalisation: on scikit-learn's
    digits at width 0.125 (SGD, momentum 0.9, batch 64, one seed) lr 0.1 did not train and 0.02 did.
    """

    def __init__(self, channels: int, classes: int, layers: Layers) -> None:
        super().__init__()
        features: list[nn.Module] = []
        inputs = channels
        for published, convolutions in STAGES:
            outputs = layers.channels(published)
            for _ in range(convolutions):
                features += [convolution(inputs, outputs), layers.normalization(outputs), nn.ReLU()]
                inputs = outputs
            features.append(halving())
        self.features = nn.Sequential(*features)
        self.head = nn.Linear(inputs, classes)
        he_(self)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(mean_over_pixels(self.features(images)))  # type: ignore[no-any-return]
