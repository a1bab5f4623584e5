"""What functions and classes say to keywords that they do not name, to classes that derive from them, a module to names
it lacks.

The messages come from rekur._keras, which is imported when there is something to say.
"""

from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")


def check_arguments(options: Mapping[str, object], function: Callable[..., Any]) -> None:
    """For a method that takes ``**options: NoReturn``, and so nothing more: see :func:`check_options`.

    Where a microsecond counts it is called only if there are any.

    Raises
    ------
    TypeError
        For any that asks for something: what to do instead, or the nearest name.
    """
    if options:
        from rekur._keras import arguments

        arguments.check_method(function, options)


def check_options(kind: str, made: type, options: Mapping[str, object]) -> None:
    """For a constructor that takes ``**options``: Keras's arguments pass where their value asks for nothing.

    Raises
    ------
    TypeError
        For any other: what to do instead, or the nearest name.
    """
    if options:
        from rekur._keras import arguments

        arguments.check_constructor(kind, made, options)


def refuse_methods(cls: type, kind: str, *methods: str) -> None:
    """For ``__init_subclass__``.

    Raises
    ------
    TypeError
        If the class defines one of the methods that Keras calls and the engine does not.
    """
    if any(method in vars(cls) for method in methods):
        refuse_class(cls, kind)


def refuse_class(cls: type, kind: str) -> None:
    """Raises TypeError, saying what to do instead of a class of one's own."""
    from rekur._keras.own_code import own_code

    raise TypeError(own_code(kind, cls.__name__))


def no_attribute(module: str, kind: str, name: str) -> NoReturn:
    """For a module's ``__getattr__``.

    Raises
    ------
    AttributeError
        What to do instead of a name of Keras's, or the nearest name. (ImportError where ``from … import`` asks.)
    """
    if name.startswith("_"):  # the import system and inspect ask for many
        raise AttributeError(f"module '{module}' has no attribute '{name}'", name=name)
    from rekur._keras import names

    names.no_attribute(module, kind, name, 3)


def named_after(module: str, cls: str) -> Callable[[type[T]], type[T]]:
    """A decorator for a base class that callers never see: Python's messages name its methods after a public class."""

    def rename(base: type[T]) -> type[T]:
        for value in vars(base).values():
            for function in (value, *(getattr(value, part, None) for part in ("fget", "fset", "__func__"))):
                if isinstance(function, FunctionType):
                    function.__module__, function.__qualname__ = module, f"{cls}.{function.__name__}"
        return base

    return rename
