"""Names of layers and models as C++ identifiers."""

import re
from collections.abc import Container

_KEYWORDS = """
    alignas alignof and and_eq asm auto bitand bitor bool break case catch char char16_t char32_t char8_t class co_await
    co_return co_yield compl concept const const_cast consteval constexpr constinit continue decltype default delete
    do double dynamic_cast else enum explicit export extern false float for friend goto if inline int long mutable
    namespace new noexcept not not_eq nullptr operator or or_eq private protected public register reinterpret_cast
    requires return short signed sizeof static static_assert static_cast struct switch template this thread_local throw
    true try typedef typeid typename union unsigned using virtual void volatile wchar_t while xor xor_eq
"""
# What compilers and C's headers define as macros in the users' name space: a namespace of that name is no name at all.
_MACROS = """
    BUFSIZ EOF HUGE_VAL I INFINITY NAN NDEBUG NULL RAND_MAX arm assert complex errno i386 imaginary linux major makedev
    max min minor offsetof setjmp stderr stdin stdout unix
"""
_TAKEN = frozenset(_KEYWORDS.split() + _MACROS.split())
_PART = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def is_reserved(name: str) -> bool:
    """Whether C++ keeps the name for itself or its library."""
    return name in _TAKEN or "__" in name or re.match(r"_(?:[A-Z]|$)", name) is not None


def identifier(name: str, otherwise: str = "layer") -> str:
    """The identifier most like the name: ``in-1.a`` → ``in_1_a``, ``1st`` → ``layer_1st``, ``new`` → ``new_``."""
    result = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_") or otherwise
    if result[0].isdigit():
        result = f"{otherwise}_{result}"
    return f"{result}_" if result in _TAKEN else result


def unique_identifier(name: str, taken: Container[str]) -> str:
    """:func:`identifier`, with ``_2``, ``_3``, … where two names would become one."""
    base = result = identifier(name)
    k = 1
    while result in taken:
        k += 1
        result = f"{base.rstrip('_')}_{k}"
    return result


def check_namespace(namespace: object) -> str:
    """``a`` or ``a::b``, each part free for a user to have.

    Raises
    ------
    TypeError
        If it is no string.
    ValueError
        If it cannot be a namespace; says which part, and why.
    """
    if not isinstance(namespace, str):
        raise TypeError(f"namespace: expected a string, got {namespace!r}")
    parts = namespace.split("::")
    for part in parts:
        if not _PART.fullmatch(part):
            raise ValueError(
                f"namespace {namespace!r}: {part!r} is no C++ identifier (letters, digits and '_', no digit first; "
                "'::' between parts)"
            )
        if is_reserved(part):
            raise ValueError(f"namespace {namespace!r}: {part!r} is reserved in C++")
    if parts[0] in ("rekur", "std"):
        raise ValueError(f"namespace {namespace!r}: '{parts[0]}' is a library's own, choose another")
    if parts[0].startswith("_"):
        raise ValueError(
            f"namespace {namespace!r}: names that begin with '_' are reserved in C++ where this one stands"
        )
    return namespace
