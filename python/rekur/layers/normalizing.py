"""Normalisations of features and of batches."""

from typing import Any, ClassVar

import numpy as np

from rekur import initializers
from rekur._settings import Setting
from rekur._validate import boolean, real, share
from rekur.layers.base import Layer
from rekur.layers.pointwise import Lambda
from rekur.layers.rectifiers import Composed, check_last, feature_axis
from rekur.layers.symbolic import SymbolicTensor


def _epsilon(value: object, what: str) -> float:
    return real(value, what, float(np.finfo(np.float32).tiny))


def _last_axis(value: object, what: str) -> int:
    if isinstance(value, bool) or value not in (-1, [-1], (-1,)):
        raise ValueError(f"{what} must be the last one, written -1, got {value!r}")
    return -1


class LayerNormalization(Layer):
    """y = x̂⊙gamma + beta, x̂ = (x − mean) / √(variance + epsilon), both over the last axis. Ba et al., arXiv:1607.06450.

    Parameters
    ----------
    axis : int
        −1, the last axis; there is no other.
    epsilon : float
        Above 0.
    center, scale : bool
        Whether there is a beta, and a gamma.
    beta_initializer, gamma_initializer : str or Initializer

    Notes
    -----
    Weights: gamma ``(F,)``, beta ``(F,)``.
    """

    type = "LayerNormalization"
    _each_step = True
    _keys = ("epsilon", "center", "scale", "gamma_initializer", "beta_initializer")
    _ruled: ClassVar[dict[str, str]] = {"gamma": "gamma", "beta": "beta"}

    axis = Setting(_last_axis)
    epsilon = Setting(_epsilon)
    center = Setting(boolean)
    scale = Setting(boolean)
    gamma_initializer = Setting(initializers.to_spec)
    beta_initializer = Setting(initializers.to_spec)

    def __init__(
        self,
        axis: Any = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        *,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name, options)
        self.axis = axis
        self.epsilon = epsilon
        self.center = center
        self.scale = scale
        self.gamma_initializer = gamma_initializer
        self.beta_initializer = beta_initializer


class Affine(Layer):
    """y = x⊙gamma + beta: what a batch normalisation is once its statistics are fixed.

    Parameters
    ----------
    center : bool
        Whether there is a beta.

    Notes
    -----
    Weights: gamma ``(F,)``, ones at first, beta ``(F,)``, zeros at first.
    """

    type = "Affine"
    _each_step = True
    _keys = ("center",)

    center = Setting(boolean)

    def __init__(self, center: bool = True, *, name: str | None = None, **options: Any) -> None:
        super().__init__(name, options)
        self.center = center

    def config(self) -> dict[str, Any]:
        return {} if self.center else super().config()


class BatchNormalization(Layer):
    """y = x̂⊙gamma + beta, x̂ = (x − mean) / √(variance + epsilon), of each feature. Ioffe, Szegedy, arXiv:1502.03167.

    Training takes mean and variance of the batch: of the valid steps of its rows, where there are lengths or a mask.
    Inference takes the running ones, which a training step moves: running = momentum · running + (1 − momentum) ·
    batch's. With ``trainable = False`` the layer is one of inference in training too, as in Keras.

    Parameters
    ----------
    axis : int
        −1, the last axis; there is no other.
    momentum : float
        From 0 to 1.
    epsilon : float
        Above 0.
    center, scale : bool
        Whether there is a beta, and a gamma.
    beta_initializer, gamma_initializer, moving_mean_initializer, moving_variance_initializer : str or Initializer

    Notes
    -----
    Weights: gamma, beta, moving_mean, moving_variance, each ``(F,)``. No optimiser changes the last two, and neither
    does a step that fails or a batch without a valid step.
    """

    type = "BatchNormalization"
    _keys = (
        "momentum", "epsilon", "center", "scale", "beta_initializer", "gamma_initializer", "moving_mean_initializer",
        "moving_variance_initializer",
    )  # fmt: skip
    _ruled: ClassVar[dict[str, str]] = {"beta": "beta", "gamma": "gamma"}

    axis = Setting(feature_axis)
    momentum = Setting(share)
    epsilon = Setting(_epsilon)
    center = Setting(boolean)
    scale = Setting(boolean)
    beta_initializer = Setting(initializers.to_spec)
    gamma_initializer = Setting(initializers.to_spec)
    moving_mean_initializer = Setting(initializers.to_spec)
    moving_variance_initializer = Setting(initializers.to_spec)

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        *,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name, options)
        self.axis = axis
        self.momentum = momentum
        self.epsilon = epsilon
        self.center = center
        self.scale = scale
        self.beta_initializer = beta_initializer
        self.gamma_initializer = gamma_initializer
        self.moving_mean_initializer = moving_mean_initializer
        self.moving_variance_initializer = moving_variance_initializer

    def _connect(self, inputs: list[SymbolicTensor]) -> Any:
        if len(inputs) == 1:
            check_last(self, self.axis, len(inputs[0].shape))
        return super()._connect(inputs)


class RMSNormalization(Composed):
    """y = x / √(mean(x²) + epsilon) ⊙ scale, the mean over the features. Zhang and Sennrich, arXiv:1910.07467.

    Parameters
    ----------
    axis : int
        −1, the last axis; there is no other.
    epsilon : float
        Above 0.

    Notes
    -----
    Weights: the scale ``(F,)``, ones at first.
    """

    type = "RMSNormalization"
    _each_step = True
    _keys = ("axis", "epsilon")

    axis = Setting(feature_axis)
    epsilon = Setting(_epsilon)

    def __init__(self, axis: int = -1, epsilon: float = 1e-6, *, name: str | None = None, **options: Any) -> None:
        super().__init__(name, options)
        self.axis = axis
        self.epsilon = epsilon

    def _compose(self, inputs: list[SymbolicTensor]) -> Any:
        from rekur import ops

        check_last(self, self.axis, len(inputs[0].shape))
        epsilon = self.epsilon

        def normed(x: Any) -> Any:
            return x * ops.rsqrt(ops.mean(ops.square(x), axis=-1, keepdims=True) + epsilon)

        return Affine(center=False, name="scale")(Lambda(normed, name="normed")(inputs[0]))
