"""Pathways from one modality to k real values, and the specs they are rebuilt from.

A pathway ends in a linear layer; the method bounds what it returns (tanh in
DSPAH, sigmoid in SCH-GAN). It takes a float batch, (b, d) features or (b, H, W,
channels) pixels as they come, and does its own reshaping and scaling, so that
the training loop and `encode` need not know which one they drive.

A *spec* is a plain dict ``{"network": name, **options}``. It is what a fitted
estimator keeps beside its arrays: architecture by name, weights as data.
"""

import math
from collections.abc import Mapping
from os import PathLike
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ._training import reproducible

__all__ = [
    "CBAM",
    "MLP",
    "HashResNet",
    "MultiScaleText",
    "PixelResNet",
    "SemanticMLP",
    "Standardise",
    "build_network",
    "load_backbone",
    "restore_network",
    "read_pretrained",
]

MIN_IMAGE_SIZE = 32
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# Average-pooling widths of the text matrix: the paper's range, 1 to 50, in geometric steps.
TEXT_SCALES = (1, 2, 3, 5, 10, 20, 30, 50)


class MLP(nn.Sequential):
    """Fully connected pathway d -> hidden -> k.

    Parameters
    ----------
    n_inputs, n_bits : int
        Widths of input and output.
    hidden : sequence of int
        Widths of the hidden layers.
    activation : {"relu", "tanh"}
        After every hidden layer.
    batch_norm : bool
        Batch normalisation before every activation.
    dropout : float
        After every hidden layer.
    output_std : float or None
        Standard deviation of the last layer's initial weights; None leaves torch's default.
    """

    def __init__(
        self,
        n_inputs,
        n_bits,
        *,
        hidden=(1024,),
        activation="relu",
        batch_norm=True,
        dropout=0.5,
        output_std=None,
    ):
        layers: list[nn.Module] = []
        for width in hidden:
            layers.append(nn.Linear(n_inputs, width))
            if batch_norm:
                layers.append(nn.BatchNorm1d(width))
            layers.append({"relu": nn.ReLU, "tanh": nn.Tanh}[activation]())
            if dropout:
                layers.append(nn.Dropout(dropout))
            n_inputs = width
        last = nn.Linear(n_inputs, n_bits)
        if output_std is not None:
            nn.init.normal_(last.weight, std=output_std)
        super().__init__(*layers, last)


class SemanticMLP(nn.Module):
    """Fully connected pathway with three heads: semantic features, hash layer, labels.

    The features are the tanh of the last hidden layer: signed, so that their inner products can
    tell rows apart as well as bring them together.

    Parameters
    ----------
    n_inputs, n_bits : int
        Widths of input and hash layer.
    n_classes : int
        Labels to predict.
    n_features : int
        Width of the semantic features.
    standardise : bool
        Whether inputs are centred and divided by one scale.
    **options
        Of the `MLP` below the features.
    """

    def __init__(self, n_inputs, n_bits, *, n_classes, n_features=512, standardise=True, **options):
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Flatten(),
            Standardise(n_inputs) if standardise else nn.Identity(),
            MLP(n_inputs, n_features, **options),
            nn.Tanh(),
        )
        self.hash = nn.Linear(n_features, n_bits)
        self.labels = nn.Linear(n_features, n_classes)

    def heads(self, x):
        """Features (b, n_features), relaxed codes in (-1, 1)^k, and label logits (b, n_classes)."""
        features = self.trunk(x).float()
        return features, self.hash(features).tanh(), self.labels(features)

    def forward(self, x):
        """Map (b, d) to (b, n_bits), before the tanh."""
        return self.hash(self.trunk(x))


class CBAM(nn.Module):
    """Convolutional block attention: which channels, then which places (Woo et al., 2018).

    Parameters
    ----------
    channels : int
        Channels of the feature map.
    reduction : int
        Bottleneck of the channel attention.
    kernel_size : int
        Of the spatial attention.
    """

    def __init__(self, channels, reduction=16, kernel_size=7):
        super().__init__()
        narrow = max(channels // reduction, 4)
        self.channel = nn.Sequential(
            nn.Linear(channels, narrow), nn.ReLU(), nn.Linear(narrow, channels)
        )
        self.spatial = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def channel_attention(self, x):
        """Sigmoid gate of shape (b, channels, 1, 1)."""
        gate = self.channel(x.mean((2, 3))) + self.channel(x.amax((2, 3)))
        return gate.sigmoid()[:, :, None, None]

    def spatial_attention(self, x):
        """Sigmoid gate of shape (b, 1, H, W)."""
        summary = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)
        return self.spatial(summary).sigmoid()

    def forward(self, x):
        """Gate channels, then places."""
        x = x * self.channel_attention(x)
        return x * self.spatial_attention(x)


class _BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut (He et al., 2016); torchvision's parameter names."""

    def __init__(self, n_in, n_out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.downsample = None
        if stride != 1 or n_in != n_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out)
            )

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        x = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(x)) + shortcut)


class HashResNet(nn.Module):
    """Residual network whose four stages each give a hash representation.

    Every stage's output passes through CBAM, global average pooling and a 1 x 1 convolution to
    k values; a learned (stage x bit) matrix weighs the stages bit by bit.

    Parameters
    ----------
    n_bits : int
        Bits of the code.
    in_channels : int
        Channels of the input.
    width : int
        Channels of the first stage, doubled by each further one: 64 is ResNet-34.
    blocks : sequence of int
        Residual blocks per stage: (3, 4, 6, 3) is ResNet-34.
    attention : bool
        CBAM on or off.
    cross_level : bool
        Whether all stages have a say, or the last one alone.
    """

    layer1: nn.Module
    layer2: nn.Module
    layer3: nn.Module
    layer4: nn.Module

    def __init__(
        self,
        n_bits,
        *,
        in_channels=3,
        width=64,
        blocks=(3, 4, 6, 3),
        attention=True,
        cross_level=True,
    ):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        n_in, widths = width, [width * 2**stage for stage in range(len(blocks))]
        for stage, (n_out, n_blocks) in enumerate(zip(widths, blocks, strict=True)):
            strides = [1 if stage == 0 else 2] + [1] * (n_blocks - 1)
            layer = nn.Sequential()
            for stride in strides:
                layer.append(_BasicBlock(n_in, n_out, stride))
                n_in = n_out
            setattr(self, f"layer{stage + 1}", layer)
        self.used_stages = range(len(blocks)) if cross_level else [len(blocks) - 1]
        self.attention = nn.ModuleList(
            CBAM(widths[stage]) if attention else nn.Identity() for stage in self.used_stages
        )
        self.heads = nn.ModuleList(nn.Conv2d(widths[s], n_bits, 1) for s in self.used_stages)
        n_used = len(self.used_stages)
        self.stage_weights = nn.Parameter(torch.full((n_used, n_bits), 1 / n_used))
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module not in list(self.heads):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def stages(self, x):
        """Feature maps of the stages, (b, channels, H, W) in."""
        x = functional.relu(self.bn1(self.conv1(x)))
        x = functional.max_pool2d(x, 3, stride=2, padding=1)
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
            yield x

    def forward(self, x):
        """Map (b, channels, H, W) to (b, n_bits)."""
        maps = list(self.stages(x))
        hashes = [
            head(attend(maps[stage]).mean((2, 3), keepdim=True)).flatten(1)
            for stage, attend, head in zip(
                self.used_stages, self.attention, self.heads, strict=True
            )
        ]
        return (torch.stack(hashes, dim=1) * self.stage_weights).sum(1)


class PixelResNet(nn.Module):
    """`HashResNet` on pixels (b, H, W, channels) from 0 to 255, or on flattened ones.

    Parameters
    ----------
    image_shape : tuple (H, W) or (H, W, channels)
        Shape of one picture.
    augment : bool
        Random flips and shifts by up to an eighth of the size, in training mode only.
    n_bits : int
        Bits of the code.
    **options
        Of `HashResNet`.
    """

    def __init__(self, image_shape, n_bits, *, augment=False, **options):
        super().__init__()
        if len(image_shape) == 2:
            image_shape = (*image_shape, 1)
        height, width, channels = image_shape
        if min(height, width) < MIN_IMAGE_SIZE:
            raise ValueError(
                f'network="resnet34" halves its input five times and needs pictures of at least '
                f"{MIN_IMAGE_SIZE} x {MIN_IMAGE_SIZE} pixels, as (n, height, width, channels); got "
                f"{height} x {width} with {channels} channels: enlarge or transpose them, or use "
                'network="mlp" on features.'
            )
        self.image_shape = tuple(image_shape)
        self.augment = augment
        three = channels == 3
        self.mean = IMAGENET_MEAN if three else (0.5,) * channels
        self.std = IMAGENET_STD if three else (0.25,) * channels
        self.resnet = HashResNet(n_bits, in_channels=channels, **options)

    def forward(self, x):
        """Map (b, H, W, channels) or (b, H W channels) to (b, n_bits)."""
        x = x.reshape(len(x), *self.image_shape).permute(0, 3, 1, 2)
        mean, std = (x.new_tensor(values)[:, None, None] for values in (self.mean, self.std))
        x = (x / 255 - mean) / std
        x = x.contiguous(memory_format=torch.channels_last)
        if self.augment and self.training:
            x = flip_and_shift(x)
        return self.resnet(x)


def flip_and_shift(x: torch.Tensor) -> torch.Tensor:
    """Mirror half of the pictures and shift each by up to an eighth of its size.

    Parameters
    ----------
    x : Tensor of shape (b, channels, H, W)
        Pictures.

    Returns
    -------
    Tensor of shape (b, channels, H, W)
        New pictures; what is shifted in repeats the border.
    """
    b, _, height, width = x.shape
    device = x.device
    dy = height // 8
    dx = width // 8
    rows = torch.arange(height, device=device) + torch.randint(-dy, dy + 1, (b, 1), device=device)
    columns = torch.arange(width, device=device) + torch.randint(-dx, dx + 1, (b, 1), device=device)
    rows = rows.clamp(0, height - 1)
    columns = columns.clamp(0, width - 1)
    mirrored = torch.rand(b, 1, device=device) < 0.5
    columns = torch.where(mirrored, width - 1 - columns, columns)
    batch = torch.arange(b, device=device)[:, None, None]
    return x.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def load_backbone(resnet: nn.Module, state: Mapping[str, Any]) -> None:
    """Copy the convolutional weights of a ResNet-34 state dict into `resnet`.

    Parameters
    ----------
    resnet : HashResNet
        With ``width=64``.
    state : mapping
        Parameter name -> tensor or array, as torchvision names them.
    """
    own = resnet.state_dict()
    backbone = {name for name in own if name.startswith(("conv1", "bn1", "layer"))}
    missing = sorted(backbone - set(state))
    if missing:
        raise ValueError(
            f"pretrained lacks {len(missing)} parameters of a ResNet-34, {missing[0]!r} first: "
            "give a state dict under torchvision's names."
        )
    for name in sorted(backbone):
        value = torch.as_tensor(state[name])
        if value.shape != own[name].shape:
            raise ValueError(
                f"pretrained[{name!r}] has shape {tuple(value.shape)}, the network needs "
                f"{tuple(own[name].shape)}: pretrained weights need width=64 and RGB pictures."
            )
        own[name].copy_(value)


def read_pretrained(source: Mapping[str, Any] | str | PathLike) -> Mapping[str, Any]:
    """State dict of a ResNet-34: as given, from a file, or from torchvision.

    Parameters
    ----------
    source : mapping, path or "imagenet"
        Files are read with ``weights_only=True``: they cannot run code.

    Returns
    -------
    mapping
        Parameter name to tensor or array.
    """
    if isinstance(source, Mapping):
        return source
    if source != "imagenet":
        return torch.load(source, map_location="cpu", weights_only=True)
    try:
        from torchvision.models import ResNet34_Weights, resnet34
    except ImportError as error:
        raise ImportError(
            'pretrained="imagenet" needs torchvision: pip install torchvision, or pass the state '
            "dict of a ResNet-34."
        ) from error
    return resnet34(weights=ResNet34_Weights.IMAGENET1K_V1).state_dict()


class MultiScaleText(nn.Module):
    """Bag of words, average-pooled at several scales into a matrix, through a `HashResNet`.

    Parameters
    ----------
    n_words, n_bits : int
        Widths of input and output.
    **options
        Of `HashResNet`.
    """

    def __init__(self, n_words, n_bits, **options):
        super().__init__()
        self.scales = [scale for scale in TEXT_SCALES if scale <= n_words]
        self.resnet = HashResNet(n_bits, in_channels=1, **options)

    def text_matrix(self, x):
        """Stack the poolings, each resized to the original length: (b, d) to (b, scales, d)."""
        n_words = x.shape[1]
        x = x[:, None, :]
        pooled = (
            functional.avg_pool1d(x, scale, ceil_mode=True, count_include_pad=False)
            for scale in self.scales
        )
        return torch.cat([functional.interpolate(p, size=n_words) for p in pooled], dim=1)

    def forward(self, x):
        """Map (b, d) to (b, n_bits)."""
        return self.resnet(self.text_matrix(x)[:, None])


class Standardise(nn.Module):
    """Centre columns and divide all of them by one scale, kept with the weights.

    One scale for the whole block makes training independent of the units of the features and
    leaves rare words rare. On emoji it found held-out texts better than a scale per column, by
    two points of mAP; on Wikipedia the two were alike.

    Parameters
    ----------
    n_columns : int
        Columns of the input.
    """

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, n_columns):
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_columns))
        self.register_buffer("scale", torch.ones(()))

    def set_statistics(self, mean, variance):
        """Take over the column means and variances of the training rows."""
        self.mean.copy_(torch.as_tensor(mean))
        scale = float(np.sqrt(np.mean(variance)))
        self.scale.fill_(scale if scale > 0 else 1.0)

    def forward(self, x):
        """Standardise (b, d)."""
        return (x - self.mean) / self.scale


def build_network(spec: Mapping[str, Any]) -> nn.Module:
    """Build the pathway that a spec describes.

    Parameters
    ----------
    spec : dict
        ``{"network": "mlp" | "resnet34" | "multiscale" | "semantic" | "discriminator" | callable,
        "input_shape": ..., "n_bits": ..., **options}``. A callable takes (input_shape, n_bits) and
        returns an `nn.Module` that maps a float batch of that shape to (b, n_bits).

    Returns
    -------
    nn.Module
        With fresh weights.
    """
    spec = dict(spec)
    network, input_shape, n_bits = (spec.pop(key) for key in ("network", "input_shape", "n_bits"))
    if callable(network):
        module = network(input_shape, n_bits)
        if not isinstance(module, nn.Module):
            raise TypeError(
                f"network factories must return a torch.nn.Module, {network!r} returned "
                f"{type(module).__name__}."
            )
        return module
    if network == "resnet34":
        return PixelResNet(input_shape, n_bits, **spec)
    n_inputs = math.prod(input_shape)
    if network == "semantic":
        return SemanticMLP(n_inputs, n_bits, **spec)
    if network == "discriminator":
        return MLP(n_inputs, n_bits, **spec)
    if network == "multiscale":
        return nn.Sequential(nn.Flatten(), MultiScaleText(n_inputs, n_bits, **spec))
    return nn.Sequential(nn.Flatten(), Standardise(n_inputs), MLP(n_inputs, n_bits, **spec))


def restore_network(spec: Mapping[str, Any], weights: Mapping[str, Any]) -> nn.Module:
    """Build the pathway that a spec describes, with given weights, in evaluation mode.

    torch's random state is left alone.

    Parameters
    ----------
    spec : dict
        As `build_network` takes it.
    weights : dict
        Parameter name to ndarray.

    Returns
    -------
    nn.Module
        On the CPU.
    """
    if callable(spec["network"]):
        # Weights of somebody else's network are drawn from the global generator.
        with reproducible(torch.device("cpu"), 0):
            network = build_network(spec)
    else:
        # Nothing is drawn on this device, which holds no values.
        with torch.device("meta"):
            network = build_network(spec)
        network.to_empty(device="cpu")
    network.load_state_dict({name: torch.tensor(w) for name, w in weights.items()})
    return network.eval()
