"""The networks: published sizes, what each normalisation sees, shapes, and that trials train with them."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap

from hpsearch.hyperparameters import Settings
from hpsearch.optim import SharpnessAware
from hpsearch.optim.batchnorm import frozen_statistics, norm_layers
from hpsearch.optim.sam_on import normalization
from hpsearch.streams import generator
from hpsearch.tasks import Classification, Data
from hpsearch.tasks.networks import NETWORKS, NORMS, build, check
from hpsearch.tasks.networks.gpt import GPT
from hpsearch.tasks.networks.layers import GhostBatchNorm2d, Layers
from hpsearch.tasks.networks.vit import VisionTransformer
from hpsearch.tasks.protocol import OptionError
from hpsearch.training.loop import train

THIN = 0.125
CONVOLUTIONAL = [name for name in NETWORKS if name != "vit-tiny"]
PUBLISHED = {
    "resnet18": 11_173_962,
    "wrn28-10": 36_479_194,
    "wrn16-8": 10_961_370,
    "vgg16-bn": 14_728_266 - 4_224,  # the usual code has a bias in each of the 13 convolutions
    "resnet-fast": 6_573_120,
}


def images(samples, channels=3, side=8, stream="images"):
    return torch.randn(samples, channels, side, side, generator=generator(0, stream))


def thin(name, channels=3, side=8, **options):
    torch.manual_seed(0)
    return build(name, channels=channels, side=side, classes=5, width=THIN, **options)


def combinations():
    """(name, norm) of all networks."""
    return [(name, norm) for name in NETWORKS for norm in (("group",) if name == "vit-tiny" else NORMS)]


def size(model):
    return sum(parameter.numel() for parameter in model.parameters())


# Sizes and shapes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize("name", PUBLISHED)
def test_sizes_are_the_published_ones(name, norm):
    with torch.device("meta"):
        assert size(build(name, channels=3, side=32, classes=10, norm=norm)) == PUBLISHED[name]


def test_the_vision_transformer_is_deit_ti():
    """DeiT-Ti of ImageNet has 5,717,416 parameters; ours differs in the patches, positions and the head only."""
    with torch.device("meta"):
        imagenet = VisionTransformer(3, 224, 1000, patch=16, head_dim=64)
        ours = build("vit-tiny", channels=3, side=32, classes=10)
    assert size(imagenet) == 5_717_416
    body = size(imagenet.blocks) + size(imagenet.norm)
    assert size(ours) == body + 192 + 65 * 192 + (3 * 4 * 4 + 1) * 192 + 193 * 10


@pytest.mark.parametrize(("name", "norm"), combinations())
def test_any_image_size_and_number_of_channels_gives_logits_and_every_parameter_a_gradient(name, norm):
    for channels, side in ((1, 28), (1, 8), (2, 7)):
        model = thin(name, channels, side, norm=norm)
        logits = model(images(3, channels, side))
        assert logits.shape == (3, 5)
        logits.square().sum().backward()
        none = [key for key, parameter in model.named_parameters() if not parameter.grad.abs().sum() > 0]
        assert not none, (channels, side)


@pytest.mark.parametrize("name", CONVOLUTIONAL)
@pytest.mark.parametrize("width", [0.125, 0.55, 1.7])
def test_channels_are_multiples_of_8_and_groups_divide_them(name, width):
    with torch.device("meta"):
        model = build(name, channels=3, side=32, classes=10, width=width)
    groups = [module for module in model.modules() if isinstance(module, nn.GroupNorm)]
    assert groups
    for group in groups:
        assert group.num_channels % 8 == 0
        assert group.num_groups <= 32 and group.num_channels % group.num_groups == 0
        assert group.num_channels > group.num_groups  # else it would be instance normalisation
    widest = max(groups, key=lambda group: group.num_channels)
    assert widest.num_channels / widest.num_groups >= 16  # or one pixel of a thin network would leave signs


def test_a_width_scales_the_channels():
    layers = {width: Layers("group", width, 32) for width in (0.25, 1.0, 2.0)}
    assert [layers[width].channels(160) for width in layers] == [40, 160, 320]
    assert layers[0.25].channels(16) == 8
    with torch.device("meta"):
        sizes = [size(build("vit-tiny", channels=3, side=32, classes=10, width=width)) for width in (0.25, 1.0)]
    assert 14 < sizes[1] / sizes[0] < 16


def test_convolutions_begin_with_he_variance():
    for name in ("resnet18", "wrn16-8", "vgg16-bn"):
        torch.manual_seed(0)
        model = build(name, channels=3, side=32, classes=10, width=0.25)
        for module in model.modules():
            if isinstance(module, nn.Conv2d) and module.weight.numel() > 10_000:
                expected = math.sqrt(2 / (module.out_channels * math.prod(module.kernel_size)))
                assert float(module.weight.detach().std()) == pytest.approx(expected, rel=0.05)


def test_the_same_seed_gives_the_same_weights_and_no_norm_begins_at_zero():
    for name in NETWORKS:
        first, second = thin(name), thin(name)
        assert all(map(torch.equal, first.state_dict().values(), second.state_dict().values()))
        gains = [value for key, value in first.named_parameters() if "norm" in key and key.endswith("weight")]
        assert all((gain == 1).all() for gain in gains)


# What a sample's logits depend on -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "norm"), combinations())
def test_in_evaluation_a_sample_does_not_see_the_others(name, norm):
    model = thin(name, norm=norm).double()
    inputs = images(6).double()
    model(inputs)  # running statistics that are not the initial ones
    model.eval()
    torch.testing.assert_close(model(inputs)[2:3], model(inputs[2:3]), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", NETWORKS)
def test_in_training_group_and_layer_norm_see_one_sample_and_batch_norm_all(name):
    inputs = images(6).double()
    model = thin(name).double().train()
    torch.testing.assert_close(model(inputs)[:2], model(inputs[:2]), rtol=1e-9, atol=1e-12)
    if name != "vit-tiny":
        model = thin(name, norm="batch").double().train()
        assert not torch.allclose(model(inputs)[:2], model(inputs[:2]), rtol=1e-3)


@pytest.mark.parametrize("name", NETWORKS)
def test_stacked_weights_train_as_each_does_alone(name):
    """torch.func over stacked weights. filterwarnings is error: an operation without a batching rule would warn."""
    _stacked_as_alone(lambda: build(name, channels=3, side=8, classes=5, width=THIN), images(3), torch.arange(3))


def test_stacked_language_models_train_as_each_does_alone():
    text = torch.randint(0, 256, (3, 7), generator=generator(0, "text"), dtype=torch.uint8)
    _stacked_as_alone(lambda: GPT(layers=2, heads=2, dim=8, context=6), text[:, :-1], text[:, 1:].long())


def _stacked_as_alone(make, inputs, targets):
    inputs = inputs.double() if inputs.is_floating_point() else inputs
    models = [make().double() for _ in range(2)]

    def loss(weights, inputs):
        logits = functional_call(models[0], weights, (inputs,))
        return nn.functional.cross_entropy(logits.flatten(0, -2), targets.flatten())

    stacked = {key: value.detach() for key, value in stack_module_state(models)[0].items()}
    together = vmap(grad(loss), in_dims=(0, None))(stacked, inputs)
    for index, model in enumerate(models):
        alone = grad(loss)({key: value.detach() for key, value in model.named_parameters()}, inputs)
        for key, gradient in alone.items():
            torch.testing.assert_close(together[key][index], gradient, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize(("name", "norm"), combinations())
def test_channels_last_gives_the_same_to_rounding(name, norm):
    model, inputs = thin(name, norm=norm).double(), images(4).double()
    expected = model(inputs)
    last = copy.deepcopy(model).to(memory_format=torch.channels_last)
    torch.testing.assert_close(last(inputs.to(memory_format=torch.channels_last)), expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(("name", "norm"), combinations())
def test_bfloat16_autocast_stays_near(name, norm):
    model, inputs = thin(name, side=16, norm=norm), images(8, side=16)
    expected = model(inputs).detach()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(inputs)
    assert logits.dtype == torch.bfloat16
    logits.float().square().mean().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())
    assert (logits.float() - expected).norm() < 0.1 * expected.norm()


# Ghost batch normalisation ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("samples", "sizes"), [(8, (4, 4)), (10, (5, 5)), (11, (6, 5)), (7, (7,)), (3, (3,))])
def test_ghost_batches_are_normalised_each_by_its_own_statistics(samples, sizes):
    """By hand; running statistics too: one update of momentum 0.1 for each part, in order."""
    layer, inputs = GhostBatchNorm2d(8, ghost=4), images(samples, 8, 3) * 3 + 1
    with torch.no_grad():
        layer.weight.uniform_(0.5, 2, generator=generator(0, "gain"))
        layer.bias.uniform_(-1, 1, generator=generator(0, "bias"))
    found = layer(inputs)
    mean, variance = torch.zeros(8), torch.ones(8)
    expected = []
    for part in inputs.split(sizes):
        centre = part.mean((0, 2, 3), keepdim=True)
        spread = part.var((0, 2, 3), correction=0, keepdim=True)
        normalized = (part - centre) / (spread + 1e-5).sqrt()
        expected.append(normalized * layer.weight.view(1, 8, 1, 1) + layer.bias.view(1, 8, 1, 1))
        mean = 0.9 * mean + 0.1 * centre.flatten()
        variance = 0.9 * variance + 0.1 * part.var((0, 2, 3))
    torch.testing.assert_close(found, torch.cat(expected), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(layer.running_mean, mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(layer.running_var, variance, rtol=1e-4, atol=1e-5)
    kept = layer.running_mean.clone()
    layer.eval()
    plain = nn.BatchNorm2d(8).eval()
    plain.load_state_dict(layer.state_dict())
    assert torch.equal(layer(inputs), plain(inputs)) and torch.equal(layer.running_mean, kept)


def test_ghosts_are_normalisation_layers_to_the_optimizer():
    model = thin("resnet-fast", norm="ghost", ghost=2)
    ghosts = [module for module in model.modules() if isinstance(module, GhostBatchNorm2d)]
    assert len(ghosts) == 8 and ghosts == norm_layers(model)
    assert {id(p) for p in normalization(model)} == {id(p) for ghost in ghosts for p in ghost.parameters()}
    before = copy.deepcopy(model.state_dict())
    with frozen_statistics(norm_layers(model)):
        frozen = model(images(5))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    torch.testing.assert_close(model(images(5)), frozen)  # the batch's statistics, in parts, in both
    assert not torch.equal(model.state_dict()["features.0.1.running_mean"], before["features.0.1.running_mean"])


def test_ghosts_running_statistics_come_from_the_clean_pass_alone():
    """A step of SAM moves them as one training forward pass at the old weights does."""
    model = thin("resnet-fast", norm="ghost", ghost=2)
    twin = copy.deepcopy(model)
    inputs, targets = images(6), torch.arange(6) % 5
    twin(inputs)

    def closure(inputs, targets):
        loss = nn.functional.cross_entropy(model(inputs), targets)
        loss.backward()
        return loss

    SharpnessAware(torch.optim.SGD(model.parameters(), lr=0.1), model, rho=0.5).step(closure, inputs, targets)
    buffers = dict(twin.named_buffers())
    assert buffers
    for key, value in model.named_buffers():
        torch.testing.assert_close(value, buffers[key])


# Mistakes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "option", "said"),
    [
        ("resnet81", {}, "model", "did you mean 'resnet18'?"),
        ("resnet18", {"norm": "Batch"}, "norm", "did you mean 'batch'?"),
        ("vit-tiny", {"norm": "ghost"}, "norm", "vit-tiny always has LayerNorm"),
        ("vit-tiny", {"norm": "batch"}, "norm", "leave norm out"),
        ("resnet18", {"width": 0.0}, "width", "a factor from 0.125 to 4"),
        ("resnet18", {"width": 4.1}, "width", "a factor from 0.125 to 4"),
        ("resnet18", {"width": math.nan}, "width", "a factor from 0.125 to 4"),
        ("resnet18", {"norm": "ghost", "ghost": 1}, "ghost", "a whole number of samples >= 2"),
    ],
)
def test_wrong_options_are_refused_by_name_and_with_a_remedy(name, options, option, said):
    for refuse in (lambda: check(name, **options), lambda: build(name, channels=3, side=8, classes=5, **options)):
        with pytest.raises(OptionError) as caught:
            refuse()
        assert caught.value.option == option and said in caught.value.allowed


@pytest.mark.parametrize("name", NETWORKS)
def test_every_name_has_its_line_and_passes_its_check(name):
    assert NETWORKS[name] and "\n" not in NETWORKS[name]
    check(name)


# Trials -------------------------------------------------------------------------------------------------------------


class Stripes(Classification):
    """Horizontal and vertical stripes in noise."""

    def __init__(self, model, norm="group"):
        self.name, self.norm = model, norm

    def data(self, seed):
        labels = torch.arange(96) % 2
        rows = (torch.arange(8) % 2).float().expand(8, 8)
        inputs = torch.stack([rows if label else rows.T for label in labels]).unsqueeze(1)
        inputs = inputs + 0.3 * images(96, 1, 8)
        return Data(*((inputs[part], labels[part]) for part in (slice(0, 48), slice(48, 72), slice(72, 96))))

    def model(self):
        return build(self.name, channels=1, side=8, classes=2, norm=self.norm, width=THIN, ghost=4)


@pytest.mark.parametrize(
    ("name", "norm", "method"),
    [("resnet-fast", "ghost", {"rho": 0.05}), ("vit-tiny", "group", {"rho": 0.05, "num_shards": 4})],
    ids=["sam", "msam"],
)
def test_a_trial_learns(name, norm, method):
    settings = Settings.merge({"base": "adamw", "lr": 0.003, "epochs": 4, "batch_size": 16, **method})
    outcome = train(Stripes(name, norm), settings, 0)
    assert outcome.status == "complete"
    losses = outcome.curve["train_loss"]
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0] - 0.05
    assert outcome.metrics["test_accuracy"] > 0.9
