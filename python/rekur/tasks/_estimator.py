"""The base of the estimators: parameters, what was learned, one file for all of it."""

import inspect
import os
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

import numpy as np

from rekur._random import draw_seed
from rekur._validate import as_path, check_suffix, did_you_mean, integer
from rekur.tasks import _file, _sklearn
from rekur.tasks._sklearn import NotFittedError as NotFittedError

Self = TypeVar("Self", bound="Estimator")
_KINDS: dict[str, type["Estimator"]] = {}  # by the name that files hold
# Where classes stand that have not been imported: a file may hold any.
_ROOMS = ("forecasting", "classification", "anomalies", "text")


class Estimator:
    """Base of the estimators of :mod:`rekur.tasks`: scikit-learn's conventions, which need no scikit-learn.

    The constructor stores its arguments as they are; ``fit`` checks them. What ``fit`` learns are attributes whose
    names end in ``_``. Copies (``sklearn.base.clone``), pickles and files hold the parameters, and the latter two what
    was learned.

    A derived class says ``_kind``, the name that files hold; it is there for ever. What it learns are numbers, strings,
    arrays, lists, tuples and dicts of them, and models; where that does not suffice, it overrides ``_state`` and
    ``_restore``.
    """

    _kind: ClassVar[str] = ""
    _estimator_type: ClassVar[str | None] = None  # "classifier", "regressor", "outlier_detector"
    _inputs: ClassVar[Mapping[str, Any]] = {"allow_nan": True}  # fields of scikit-learn's InputTags

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "_kind" in vars(cls) and cls._kind:
            _KINDS[cls._kind] = cls

    # Parameters.

    @classmethod
    def _parameters(cls) -> dict[str, inspect.Parameter]:
        found = inspect.signature(cls.__init__).parameters.items()
        return {name: parameter for name, parameter in found if name != "self"}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments by name.

        Parameters
        ----------
        deep : bool
            Whether those of arguments that are estimators are there too, as ``argument__name``.
        """
        found: dict[str, Any] = {}
        for name in sorted(self._parameters()):
            value = found[name] = getattr(self, name)
            if deep and hasattr(value, "get_params") and not isinstance(value, type):
                found.update({f"{name}__{key}": item for key, item in value.get_params().items()})
        return found

    def set_params(self: Self, **params: Any) -> Self:
        """Set arguments of the constructor by name, ``argument__name`` for those of an estimator among them.

        Raises
        ------
        ValueError
            For a name that the constructor does not know.
        """
        known = self._parameters()
        for name, value in params.items():
            first, _, rest = name.partition("__")
            if first not in known:
                raise ValueError(
                    f"Invalid parameter {first!r} for estimator {self!r}{did_you_mean(first, known)}. "
                    f"Valid parameters are: {sorted(known)}."
                )
            if rest:
                getattr(self, first).set_params(**{rest: value})
            else:
                setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        changed = []
        for name, parameter in self._parameters().items():
            value = getattr(self, name, parameter.default)
            if parameter.default is inspect.Parameter.empty or not _same(value, parameter.default):
                changed.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(changed)})"

    def __sklearn_tags__(self) -> Any:
        return _sklearn.tags(self._estimator_type, **self._inputs)

    # What was learned.

    def __sklearn_is_fitted__(self) -> bool:
        return bool(self._learned())

    def _learned(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k.endswith("_") and not k.startswith("_")}

    def _check_fitted(self) -> None:
        """Refuse an estimator that has learned nothing.

        Raises
        ------
        NotFittedError
            Which is scikit-learn's, too, where that is loaded.
        """
        if not self.__sklearn_is_fitted__():
            raise _sklearn.not_fitted_error(
                f"This {type(self).__name__} instance is not fitted yet. Call 'fit' with appropriate arguments before "
                "using this estimator."
            )

    def _forget(self) -> None:
        """Begin anew: what an earlier fit has learned goes."""
        for name in self._learned():
            delattr(self, name)

    def _seeds(self, count: int) -> list[int]:
        """The seeds of ``count`` networks, from ``random_state``: None, an int, or NumPy's RandomState or Generator.

        Raises
        ------
        TypeError, ValueError
            For anything else.
        """
        given: Any = getattr(self, "random_state", None)
        if given is None:
            return [draw_seed() for _ in range(count)]
        if isinstance(given, np.random.RandomState):
            return [int(given.randint(0, 2**31 - 1)) for _ in range(count)]
        if isinstance(given, np.random.Generator):
            return [int(given.integers(0, 2**31 - 1)) for _ in range(count)]
        first = integer(given, f"{type(self).__name__}: random_state", 0)
        # One network has the very seed, so that it is found again; the others' are as good as independent.
        more = np.random.SeedSequence(first).generate_state(count)
        return [first, *(int(seed) for seed in more[1:])][:count]

    # Files.

    def _state(self) -> dict[str, Any]:
        """What a file holds of what was learned."""
        return self._learned()

    def _restore(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`_state` gave."""
        for name, value in state.items():
            if not name.endswith("_") or name.startswith("_"):
                raise ValueError(f"unexpected attribute {name!r:.60}")
            setattr(self, name, value)

    def save(self, filepath: str | os.PathLike[str]) -> None:
        """Write the fitted estimator to one ``.safetensors`` file: parameters, what was learned, networks.

        The path holds the old file or the whole new one. :func:`rekur.tasks.load` reads it; no file holds code.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        OSError
            If the file cannot be written.
        TypeError
            If a parameter is Python code, such as a function, which a file cannot hold.
        """
        self._check_fitted()
        check_suffix(filepath, "save")
        _file.write(filepath, self._kind, {"params": self._saved_params(), "learned": self._state()})

    def _saved_params(self) -> dict[str, Any]:
        saved = self.get_params(deep=False)
        given: Any = saved.get("random_state")
        if given is not None and not isinstance(given, (int, np.integer)):
            saved["random_state"] = None  # a generator has moved on; the networks' seeds stand in their models
        return saved

    @classmethod
    def load(cls: type[Self], filepath: str | os.PathLike[str]) -> Self:
        """An estimator from a file of :meth:`save`.

        Raises
        ------
        OSError
            If the file cannot be read, is not whole, or is something else.
        ValueError
            If it holds another kind of estimator, or is not valid.
        """
        loaded = load(filepath)
        if not isinstance(loaded, cls):
            raise ValueError(f"'{as_path(filepath, 'load')}' holds a {type(loaded).__name__}, not a {cls.__name__}")
        return loaded

    def __getstate__(self) -> dict[str, Any]:
        state = {k: v for k, v in vars(self).items() if not (k.startswith("_") and k.endswith("_cache"))}
        state["_rekur_version"] = _version()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({k: v for k, v in state.items() if k != "_rekur_version"})


def load(filepath: str | os.PathLike[str]) -> Any:
    """The estimator of a file, of whichever kind.

    Parameters
    ----------
    filepath : str or path
        Written by ``save`` of an estimator. No code of a file is run.

    Raises
    ------
    OSError
        If the file cannot be read, is not whole, or is something else, which is said.
    ValueError
        If it was written by a newer rekur, or is not valid.
    """
    kind, state = _file.read(filepath)
    path = as_path(filepath, "load")
    cls = _class_of(kind)
    if cls is None:
        raise ValueError(f"'{path}' holds an estimator of kind {kind!r:.60}, which this rekur does not know")
    try:
        known = cls._parameters()
        params = state["params"]
        if unknown := [name for name in params if name not in known]:
            raise ValueError(f"unknown parameter {unknown[0]!r:.60}")
        made = cls(**params)
        made._restore(state["learned"])
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        reason = error if isinstance(error, ValueError) else repr(error)
        raise ValueError(f"'{path}': not a valid {cls.__name__}: {reason}") from None
    return made


def _class_of(kind: str) -> type[Estimator] | None:
    if kind not in _KINDS:
        import importlib

        for room in _ROOMS:
            importlib.import_module(f"rekur.tasks.{room}")
    return _KINDS.get(kind)


def _same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    try:
        return type(one) is type(other) and bool(one == other)
    except (TypeError, ValueError):  # arrays, whose comparison is an array
        return False


def _version() -> str:
    from rekur._core import __version__

    return __version__
