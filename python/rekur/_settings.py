"""Attributes that act: what can be set on an object of rekur takes effect, or setting it raises and says what to do.

A class lists what may be set as :class:`Setting`; :class:`Guarded` refuses every other public name, misspelt ones too.
Names with an underscore in front are free, and so are new names on objects of subclasses outside rekur, whose own code
may read them. Values that a model is made of (dicts and lists) are stored as copies that cannot be changed in place.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Generic, NoReturn, TypeVar, overload

from rekur._validate import did_you_mean

T = TypeVar("T")


class Setting(Generic[T]):
    """An attribute that is checked when it is set, and whose owner is asked before and told after a change.

    Parameters
    ----------
    check : callable of (value, what), optional
        Returns what to store; ``what`` names the owner and the attribute for its messages.
    """

    def __init__(self, check: Callable[[Any, str], T] | None = None) -> None:
        self._check = check

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, owner: None, kind: type) -> "Setting[T]": ...
    @overload
    def __get__(self, owner: object, kind: type) -> T: ...
    def __get__(self, owner: Any, kind: type) -> Any:
        if owner is None:
            return self
        try:
            return owner.__dict__[self._name]
        except KeyError:
            raise AttributeError(f"{owner._whose()} has no '{self._name}' yet") from None

    def __set__(self, owner: Any, value: Any) -> None:
        values, name = owner.__dict__, self._name
        changes = name in values  # the first time is the constructor's
        if changes:
            owner._may_set(name)
        if self._check is not None:
            value = self._check(value, f"{owner._whose()}: {name}")
        before = values.get(name)
        values[name] = frozen(value)
        if changes:
            try:
                owner._was_set(name)
            except Exception:
                values[name] = before
                raise

    def __delete__(self, owner: Any) -> NoReturn:
        raise AttributeError(f"{owner._whose()}: '{self._name}' can be set, not deleted")


class Guarded:
    """Base of the classes whose attributes act or raise."""

    _advice: ClassVar[Mapping[str, str]] = {}  # what to do instead of setting (or asking for) a name
    _kind: ClassVar[str] = ""  # what Keras calls it: its attributes are told what to do (rekur._keras.attributes)
    _attributes: ClassVar[tuple[str, ...]] = ()  # public names that hold what the class's own code reads, unchecked
    _open: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._open = cls.__module__.partition(".")[0] != "rekur"

    def _whose(self) -> str:
        """How messages name the object."""
        return repr(self)

    def _may_set(self, name: str) -> None:
        """Raises AttributeError where a setting cannot be changed any more."""

    def _was_set(self, name: str) -> None:
        """Takes in a change; raises, and the change is undone, where settings do not go together."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_") or self._takes(name, value):
            object.__setattr__(self, name, value)
        else:
            raise AttributeError(self._refusal(name))

    def __getattr__(self, name: str) -> Any:  # called for names that are not there
        advice = ""
        if not name.startswith("_") and not self._open:
            advice = self._advice.get(name, "")
            if not advice and self._kind:
                from rekur._keras import attributes

                advice = attributes.advice(self._kind, name)
        raise AttributeError(
            f"{self._whose()} has no '{name}': {advice}"
            if advice
            else f"'{type(self).__name__}' object has no attribute '{name}'"
        )

    def _takes(self, name: str, value: object) -> bool:
        if any(name in cls.__dict__.get("_attributes", ()) for cls in type(self).__mro__):
            return True
        found = _find(type(self), name)
        if found is _MISSING:
            return self._open
        if isinstance(found, property):
            return found.fset is not None
        if callable(found) and not isinstance(found, type):
            return callable(value)  # another method for this object
        return hasattr(type(found), "__set__") or self._open

    def _refusal(self, name: str) -> str:
        advice = self._advice.get(name)
        if advice:
            return f"{self._whose()}: '{name}' cannot be set: {advice}"
        if _find(type(self), name) is not _MISSING:
            return f"{self._whose()}: '{name}' can be read, not set"
        return f"{self._whose()} has no attribute '{name}' to set{did_you_mean(name, self._settable()) or ''}"

    def _settable(self) -> list[str]:
        found: dict[str, None] = {}
        for cls in type(self).__mro__:
            found.update(dict.fromkeys(cls.__dict__.get("_attributes", ())))
            for name, value in cls.__dict__.items():
                if isinstance(value, Setting) or (isinstance(value, property) and value.fset is not None):
                    found[name] = None
        return list(found)


class Value(Guarded):
    """A name and parameters that never change: a layer or a model that was given one has read it already."""

    name: ClassVar[str]
    _parameters: Mapping[str, Any] = MappingProxyType({})  # of a class whose constructor does not call this one's

    def __init__(self, **parameters: Any) -> None:
        refuse_base(self)
        self._parameters = frozen(parameters)

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The parameters by name; it cannot be changed."""
        return self._parameters

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and name in self._parameters:
            return self._parameters[name]
        return super().__getattr__(name)

    def _whose(self) -> str:
        return f"{type(self).__name__} '{self.name}'"

    def _refusal(self, name: str) -> str:
        if name in self._parameters:
            return f"{self._whose()}: '{name}' is fixed; make another: {type(self).__name__}({name}=…)"
        return super()._refusal(name)

    def _settable(self) -> list[str]:
        return list(self._parameters)


def refuse_base(made: object) -> None:
    """A class without a name is what the named ones have in common.

    Raises
    ------
    TypeError
        For an object of such a class.
    """
    cls = type(made)
    if not hasattr(cls, "name"):
        raise TypeError(f"{cls.__name__} is the base of others, and nothing by itself: use one of {cls.__module__}")


_MISSING = object()


def _find(cls: type, name: str) -> Any:
    for base in cls.__mro__:
        if name in base.__dict__:
            return base.__dict__[name]
    return _MISSING


def _refuse(self: Any, *_: object, **__: object) -> NoReturn:
    raise TypeError(self._reason)


class FixedDict(dict[str, Any]):
    """A dict that can be read, copied with ``dict(…)`` and compared, not changed."""

    _reason = "this dict cannot be changed in place; set the attribute that it came from to a new one"

    __setitem__ = __delitem__ = clear = pop = popitem = setdefault = update = __ior__ = _refuse

    def __reduce__(self) -> Any:
        return type(self), (dict(self),)


class FixedList(list[Any]):
    """A list that can be read, copied with ``list(…)`` and compared, not changed."""

    _reason = "this list cannot be changed in place; set the attribute that it came from to a new one"

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = clear = extend = insert = pop = remove = reverse = sort = _refuse

    def __reduce__(self) -> Any:
        return type(self), (list(self),)


def frozen(value: Any) -> Any:
    """A copy of nested dicts and lists that cannot be changed; anything else as it is."""
    if isinstance(value, dict):
        return FixedDict({key: frozen(entry) for key, entry in value.items()})
    if isinstance(value, list):
        return FixedList([frozen(entry) for entry in value])
    return value


def thawed(value: Any) -> Any:
    """A copy of nested dicts and lists that is the caller's to change."""
    if isinstance(value, dict):
        return {key: thawed(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [thawed(entry) for entry in value]
    return value
