"""Neural Amp Modeler's ConvNet, a chain of convolutions of two taps, and its Linear, one of many."""

from collections.abc import Mapping
from typing import Any

from rekur.convert._audio import LONGEST, count, width
from rekur.convert._nam.network import Network, Product, Weights, flag, known


def convnet(network: Network, x: Any, config: Mapping[str, Any], weights: Weights) -> Any:
    """Its output."""
    what = f"{network.what}: config"
    known(config, ("channels", "dilations", "batchnorm", "activation", "groups", "in_channels", "out_channels"), what)
    channels, out = width(config, "channels", what), width(config, "out_channels", what, 1)
    normed, groups = flag(config, "batchnorm", what), count(config, "groups", what, default=1)
    dilations = config.get("dilations")
    if not isinstance(dilations, list) or not dilations:
        raise ValueError(f"{what}: dilations: expected a list of at least one, got {dilations!r:.80}")
    for k, dilation in enumerate(dilations):
        step = count({"dilations": dilation}, "dilations", what)
        product = weights.product(int(x.shape[-1]), channels, f"block{k}", 2, not normed, groups)
        x = network.product(x, product, f"block{k}_conv", step, added=normed)
        if normed:
            x = network.normalised(x, weights, f"block{k}_norm")
        x = network.activation(x, config.get("activation"), f"block{k}_activation", "config: activation")
    return network.product(x, weights.product(channels, out, "head"), "head")


def linear(network: Network, x: Any, config: Mapping[str, Any], weights: Weights) -> Any:
    """Its output."""
    what = f"{network.what}: config"
    known(config, ("receptive_field", "bias", "in_channels", "out_channels", "implementation"), what)
    size, biased = count(config, "receptive_field", what), flag(config, "bias", what)
    if x.shape[-1] != 1 or count(config, "out_channels", what, default=1) != 1:
        raise ValueError(f"{what}: Linear of one channel is read")
    if size > LONGEST:
        raise ValueError(f"{what}: receptive_field: expected at most {LONGEST}, got {size}")
    response = weights.take(1, 1, size)[:, :, ::-1]  # its first number is of the step at hand
    return network.product(x, Product(response, weights.take(1) if biased else None), "linear")
