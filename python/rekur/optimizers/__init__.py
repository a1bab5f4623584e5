"""Optimisers, by name or as an object. Rules, defaults and the place of epsilon are those of Keras 3.

Every optimiser takes what :class:`Optimizer` lists, as keywords, beside its own arguments.
"""

from typing import TYPE_CHECKING, Any, ClassVar

from rekur._own import no_attribute
from rekur._settings import Setting
from rekur._validate import boolean, real, share
from rekur.optimizers import schedules as schedules
from rekur.optimizers.base import Optimizer as Optimizer
from rekur.optimizers.base import Rate as Rate
from rekur.optimizers.base import _amount, _epsilon, _fraction


class SGD(Optimizer):
    """v' = momentum·v − rate·g, w' = w + v' (``nesterov``: w + momentum·v' − rate·g).

    Sutskever et al., ICML 2013. Further arguments as in :class:`Optimizer`.
    """

    name = "sgd"
    _keys = ("momentum", "nesterov", "weight_decay")

    momentum = Setting(share)
    nesterov = Setting(boolean)

    def __init__(
        self,
        learning_rate: Rate = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float | None = None,
        **options: Any,
    ) -> None:
        self._begin(learning_rate, options, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)


class RMSprop(Optimizer):
    """s' = rho·s + (1 − rho)·g², w' = w − rate·g / √(s' + epsilon).

    With ``momentum``: v' = momentum·v + rate·g / √(s' + epsilon), w' = w − v'. ``centered``: the square of the same
    mean of g is taken from s'. epsilon stands inside the root as in Keras; PyTorch has √s' + epsilon, whose steps are
    larger where gradients are small: 2.9 times at 2e-4 with the default epsilon. Tieleman and Hinton, lecture 6.5,
    2012. Further arguments as in :class:`Optimizer`.
    """

    name = "rmsprop"
    _keys = ("rho", "momentum", "epsilon", "centered")

    rho = Setting(_fraction)
    momentum = Setting(share)
    epsilon = Setting(_epsilon)
    centered = Setting(boolean)

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        weight_decay: float | None = None,
        **options: Any,
    ) -> None:
        options["weight_decay"] = weight_decay
        self._begin(learning_rate, options, rho=rho, momentum=momentum, epsilon=epsilon, centered=centered)


class Adam(Optimizer):
    """m' = β₁·m + (1 − β₁)·g, v' = β₂·v + (1 − β₂)·g², w' = w − rate·√(1 − β₂ᵗ) / (1 − β₁ᵗ) · m' / (√v' + epsilon).

    t counts the steps from 1. As in Keras epsilon is the "epsilon hat" of Kingma and Ba, arXiv:1412.6980, section 2;
    that of their algorithm 1, which PyTorch has, is epsilon / √(1 − β₂ᵗ). ``amsgrad``: v' is the largest so far, Reddi
    et al., 2018. Further arguments as in :class:`Optimizer`.
    """

    name = "adam"
    _keys: ClassVar[tuple[str, ...]] = ("beta_1", "beta_2", "epsilon", "amsgrad")

    beta_1 = Setting(_fraction)
    beta_2 = Setting(_fraction)
    epsilon = Setting(_epsilon)
    amsgrad = Setting(boolean)

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        weight_decay: float | None = None,
        **options: Any,
    ) -> None:
        options["weight_decay"] = weight_decay
        self._begin(learning_rate, options, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon, amsgrad=amsgrad)


class AdamW(Adam):
    """Adam with a weight decay of 0.004 unless another is given. Loshchilov and Hutter, arXiv:1711.05101."""

    name = "adamw"
    _keys = (*Adam._keys, "weight_decay")

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        weight_decay: float | None = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay, **options)


class _Moments(Optimizer):
    """Of those with two decaying means and an epsilon."""

    _keys = ("beta_1", "beta_2", "epsilon")

    beta_1 = Setting(_fraction)
    beta_2 = Setting(_fraction)
    epsilon = Setting(_epsilon)

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        **options: Any,
    ) -> None:
        options["weight_decay"] = weight_decay
        self._begin(learning_rate, options, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon)


class Nadam(_Moments):
    """Adam with Nesterov's momentum, u_t = β₁·(1 − ½·0.96ᵗ).

    m and v as in :class:`Adam`; w' = w − rate·(u_{t+1}·m' / (1 − Π_{t+1}) + (1 − u_t)·g / (1 − Π_t)) /
    (√(v' / (1 − β₂ᵗ)) + epsilon), Π_t = u_1·…·u_t. Dozat, 2016. Further arguments as in :class:`Optimizer`.
    """

    name = "nadam"


class Adamax(_Moments):
    """m as in :class:`Adam`, u' = max(β₂·u, |g|), w' = w − rate·m' / ((1 − β₁ᵗ)·(u' + epsilon)).

    Kingma and Ba, arXiv:1412.6980, section 7. Further arguments as in :class:`Optimizer`.
    """

    name = "adamax"


class Lamb(_Moments):
    """Adam's step, of each parameter times ‖w‖ / ‖step‖: w' = w − rate·‖w‖/‖s‖·s.

    s = m' / (1 − β₁ᵗ) / (√(v' / (1 − β₂ᵗ)) + epsilon); the ratio is 1 where a norm is 0. You et al.,
    arXiv:1904.00962. Further arguments as in :class:`Optimizer`.
    """

    name = "lamb"


class Adagrad(Optimizer):
    """s' = s + g², w' = w − rate·g / √(s' + epsilon); s begins with ``initial_accumulator_value``.

    Duchi et al., JMLR 12, 2011. Further arguments as in :class:`Optimizer`.
    """

    name = "adagrad"
    _keys = ("initial_accumulator_value", "epsilon")

    initial_accumulator_value = Setting(_amount)
    epsilon = Setting(_epsilon)

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        **options: Any,
    ) -> None:
        options["weight_decay"] = weight_decay
        self._begin(learning_rate, options, initial_accumulator_value=initial_accumulator_value, epsilon=epsilon)


class Adadelta(Optimizer):
    """s' = rho·s + (1 − rho)·g², d = −√(e + epsilon) / √(s' + epsilon)·g, e' = rho·e + (1 − rho)·d², w' = w + rate·d.

    Zeiler, arXiv:1212.5701, whose rate is 1. Further arguments as in :class:`Optimizer`.
    """

    name = "adadelta"
    _keys = ("rho", "epsilon")

    rho = Setting(_fraction)
    epsilon = Setting(_epsilon)

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        rho: float = 0.95,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        **options: Any,
    ) -> None:
        options["weight_decay"] = weight_decay
        self._begin(learning_rate, options, rho=rho, epsilon=epsilon)


def _power(value: object, what: str) -> float:
    return real(value, what, -1e4, 0)


class Ftrl(Optimizer):
    """Follow the regularised leader. McMahan et al., KDD 2013.

    n' = n + g², z' = z + g + 2·l2_shrinkage·w − (n'^p − n^p) / rate·w,
    w' = (z' clipped to ± l1 − z') / (n'^p / rate + 2·l2 + beta / rate), p = −learning_rate_power; n begins with
    ``initial_accumulator_value``. A step of rate 0 changes nothing. Further arguments as in :class:`Optimizer`.
    """

    name = "ftrl"
    _keys = (
        "learning_rate_power", "initial_accumulator_value", "l1_regularization_strength", "l2_regularization_strength",
        "l2_shrinkage_regularization_strength", "beta",
    )  # fmt: skip

    learning_rate_power = Setting(_power)
    initial_accumulator_value = Setting(_amount)
    l1_regularization_strength = Setting(_amount)
    l2_regularization_strength = Setting(_amount)
    l2_shrinkage_regularization_strength = Setting(_amount)
    beta = Setting(_amount)

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        l2_shrinkage_regularization_strength: float = 0.0,
        beta: float = 0.0,
        weight_decay: float | None = None,
        **options: Any,
    ) -> None:
        options["weight_decay"] = weight_decay
        self._begin(
            learning_rate,
            options,
            learning_rate_power=learning_rate_power,
            initial_accumulator_value=initial_accumulator_value,
            l1_regularization_strength=l1_regularization_strength,
            l2_regularization_strength=l2_regularization_strength,
            l2_shrinkage_regularization_strength=l2_shrinkage_regularization_strength,
            beta=beta,
        )


class Lion(Optimizer):
    """w' = w − rate·sign(β₁·m + (1 − β₁)·g), m' = β₂·m + (1 − β₂)·g. Chen et al., arXiv:2302.06675.

    Further arguments as in :class:`Optimizer`.
    """

    name = "lion"
    _keys = ("beta_1", "beta_2")

    beta_1 = Setting(_fraction)
    beta_2 = Setting(_fraction)

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        weight_decay: float | None = None,
        **options: Any,
    ) -> None:
        options["weight_decay"] = weight_decay
        self._begin(learning_rate, options, beta_1=beta_1, beta_2=beta_2)


_CLASSES: tuple[type[Optimizer], ...] = (
    SGD, RMSprop, Adam, AdamW, Nadam, Adamax, Adagrad, Adadelta, Ftrl, Lion, Lamb,
)  # fmt: skip
NAMES: dict[str, type[Optimizer]] = {c.name: c for c in _CLASSES}


def get(optimizer: object) -> Optimizer:
    """An optimiser of a name (in any case), an object, a class, a ``{"name": …}`` dict or :func:`serialize`'s.

    Raises
    ------
    ValueError
        For an unknown name, with a suggestion.
    TypeError
        For anything else.
    """
    if isinstance(optimizer, Optimizer):
        return optimizer
    if isinstance(optimizer, type) and issubclass(optimizer, Optimizer) and optimizer is not Optimizer:
        return optimizer()
    parameters: dict[str, Any] = {}
    name: object = optimizer
    if isinstance(optimizer, dict):
        if "class_name" in optimizer:
            optimizer = {**(optimizer.get("config") or {}), "name": optimizer["class_name"]}
        parameters = {k: v for k, v in optimizer.items() if k not in ("name", "exclude_from_weight_decay")}
        name = optimizer.get("name")
    if not isinstance(name, str):
        raise TypeError(f"an optimizer is a name or an object of rekur.optimizers, got {optimizer!r}")
    found = NAMES.get(name.lower())
    if found is None:
        from rekur._keras.names import unknown

        raise ValueError(unknown("optimizer", name, NAMES))
    made = found(**parameters)
    if isinstance(optimizer, dict) and "exclude_from_weight_decay" in optimizer:
        made.exclude_from_weight_decay(**optimizer["exclude_from_weight_decay"])
    return made


def serialize(optimizer: Optimizer) -> dict[str, Any]:
    """An optimiser as data: ``{"class_name": …, "config": …}``."""
    return {"class_name": type(optimizer).__name__, "config": optimizer.get_config()}


def deserialize(config: dict[str, Any], custom_objects: object = None) -> Optimizer:
    """The optimiser of :func:`serialize`'s data; raises as :func:`get` does."""
    return get(config)


if not TYPE_CHECKING:  # a type checker is to see what is not there

    def __getattr__(name: str) -> Any:
        no_attribute(__name__, "optimizer", name)
