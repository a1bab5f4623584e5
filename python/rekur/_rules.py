"""What regularizers and constraints have in common: named values that are called with an array, and how one is got."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

from rekur._own import check_options, refuse_methods
from rekur._settings import Value, thawed
from rekur._validate import did_you_mean


class Rule(Value):
    """Base of :class:`rekur.regularizers.Regularizer` and :class:`rekur.constraints.Constraint`."""

    _what: ClassVar[str]  # what Keras calls it

    def _begin(self, options: dict[str, Any], **parameters: Any) -> None:
        check_options(self._what, type(self), options)
        super().__init__(**parameters)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls._open:
            refuse_methods(cls, cls._what, "__call__")

    def to_spec(self) -> dict[str, Any]:
        """The spec's form: the name and the constructor's arguments."""
        return {"name": self.name, **self.get_config()}

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {key: thawed(value) for key, value in self.parameters.items()}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.parameters.items())})"


R = TypeVar("R", bound=Rule)


def find(identifier: Any, what: str, kind: type[R], names: Mapping[str, Callable[..., R]]) -> R | None:
    """The rule of a name, a dict, a class or an object; None for None."""
    if identifier is None or isinstance(identifier, kind):
        return identifier
    if isinstance(identifier, type) and issubclass(identifier, kind):
        return identifier()
    given: dict[str, Any] = {}
    name = identifier
    if isinstance(identifier, dict):
        if "class_name" in identifier:  # as Keras writes it down
            name, given = identifier["class_name"], dict(identifier.get("config") or {})
        else:
            given = dict(identifier)
            name = given.pop("name", None)
    if not isinstance(name, str):
        raise TypeError(
            f"{what}: a {kind._what} is a name or an object of {kind.__module__}, got {identifier!r}; functions of "
            "one's own are not here yet"
        )
    if name not in names:
        raise ValueError(f"{what}: unknown {kind._what} '{name}'{did_you_mean(name, list(names))}")
    return names[name](**given)
