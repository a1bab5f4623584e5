"""Options of every cell: inside a step, where the engine writes them into the equations, or around the steps."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from rekur import initializers
from rekur._settings import Guarded, Setting, thawed
from rekur._spec import Spec
from rekur._validate import boolean, did_you_mean, integer, rate, real

_PARTS = ("sums", "state", "both")
_TINY, _LARGEST = 1.1754943508222875e-38, 3.4028234663852886e38  # of float32


def _positive(value: object, what: str) -> float:
    return real(value, what, _TINY, _LARGEST)


def _by_state(check: Callable[[object, str], float]) -> Callable[[object, str], Any]:
    """None, a number for all states, or a dict of numbers by the states' names."""

    def checked(value: object, what: str) -> Any:
        if value is None:
            return None
        if isinstance(value, Mapping):
            return {str(name): check(number, f"{what}: {name}") for name, number in value.items()}
        return check(value, what)

    return checked


def _normalization(value: object, what: str) -> str | None:
    if value is None or value is False:
        return None
    if value is True:
        return "sums"
    if not isinstance(value, str) or value not in _PARTS:
        raise ValueError(f"{what}: expected True, False or one of {', '.join(_PARTS)}, got {value!r}")
    return value


def _size(value: object, what: str) -> int | None:
    return None if value is None else integer(value, what)


class CellOptions(Guarded):
    """The options of a recurrent layer, keyword arguments of each; docs/cell-options.md has their equations."""

    units: Any

    # By name the values at which a spec leaves them out.
    _cell_options: ClassVar[Spec] = {
        "dropout": 0.0,
        "recurrent_dropout": 0.0,
        "recurrent_weight_dropout": 0.0,
        "zoneout": None,
        "layer_normalization": None,
        "normalization_epsilon": 1e-5,
        "gamma_initializer": "ones",
        "beta_initializer": "zeros",
        "state_clip": None,
        "projection_size": None,
        "projection_initializer": "glorot_uniform",
        "residual": False,
        "learn_initial_state": False,
    }
    _of_normalization: ClassVar[tuple[str, ...]] = ("normalization_epsilon", "gamma_initializer", "beta_initializer")

    dropout = Setting(rate)
    recurrent_dropout = Setting(rate)
    recurrent_weight_dropout = Setting(rate)
    zoneout: Setting[Any] = Setting(_by_state(rate))
    layer_normalization = Setting(_normalization)
    normalization_epsilon = Setting(_positive)
    gamma_initializer: Setting[Any] = Setting(initializers.to_spec)
    beta_initializer: Setting[Any] = Setting(initializers.to_spec)
    state_clip: Setting[Any] = Setting(_by_state(_positive))
    projection_size = Setting(_size)
    projection_initializer: Setting[Any] = Setting(initializers.to_spec)
    residual = Setting(boolean)
    learn_initial_state = Setting(boolean)

    def _state_names(self) -> list[str]:
        """Of the cell."""
        raise NotImplementedError

    def _take_options(self, given: dict[str, Any]) -> None:
        for key, default in self._cell_options.items():
            setattr(self, key, given.pop(key, default))

    def _check_options(self) -> None:
        for key in ("zoneout", "state_clip"):
            value, names = getattr(self, key), self._state_names()
            for name in value if isinstance(value, Mapping) else ():
                if name not in names:
                    raise ValueError(f"{self!r}: {key}: its cell has no state '{name}'{did_you_mean(name, names)}")
        if self.projection_size is not None and self.projection_size >= self.units:
            raise ValueError(
                f"{self!r}: projection_size must be less than units, which are {self.units}, got {self.projection_size}"
            )
        if self.projection_size is None and self.projection_initializer != self._cell_options["projection_initializer"]:
            raise ValueError(f"{self!r}: projection_initializer is that of projection_size, which is not given")
        for key in self._of_normalization:
            if self.layer_normalization is None and getattr(self, key) != self._cell_options[key]:
                raise ValueError(f"{self!r}: {key} is that of layer_normalization, which is not asked for")
        if self.layer_normalization == "sums" and self.beta_initializer != self._cell_options["beta_initializer"]:
            raise ValueError(f"{self!r}: beta_initializer is that of a normalised state; after the sums comes the bias")

    def _option_config(self) -> Spec:
        """Those that ask for something, as the spec has them."""
        given = {key: thawed(getattr(self, key)) for key in self._cell_options}
        return {key: value for key, value in given.items() if value != self._cell_options[key]}
