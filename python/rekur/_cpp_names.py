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
# Macros of compilers and C's headers that somebody might choose as a namespace. No list is whole: the names of layers
# (layer_namespace) do not lean on it.
_MACROS = """
    BUFSIZ CHAR_BIT EOF HUGE_VAL I INFINITY INT_MAX NAN NDEBUG NULL RAND_MAX arm assert complex errno i386 imaginary
    linux major makedev max min minor offsetof setjmp stderr stdin stdout unix
"""
# Functions that headers of C and POSIX declare where a namespace stands, and that a file might be called after.
_FUNCTIONS = """
    abort abs access acos alarm asin atan bind brk bsearch cbrt ceil clock close connect cos cosh creat daemon div drem
    dup erf exit exp fabs floor fma fork free gamma hypot index j0 j1 jn kill labs lgamma link listen log logb lrint
    malloc mkdir mktime mount nan nearbyint nice open pause pipe poll pow printf puts qsort raise rand random read
    realloc recv remove rename rewind rindex rint round scalb scanf select send signal significand sin sincos sinh sleep
    socket sqrt srand srandom stat swab symlink sync system tan tanh tgamma time times trunc truncate umask unlink vfork
    wait write y0 y1 yn
"""
_TAKEN = frozenset(_KEYWORDS.split() + _MACROS.split())
_LIBRARIES = ("rekur", "std")
_PART = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def is_reserved(name: str) -> bool:
    """Whether C++ keeps the name for itself or its library."""
    return name in _TAKEN or "__" in name or re.match(r"_(?:[A-Z]|$)", name) is not None


def file_namespace(stem: str) -> str:
    """The namespace most like a file's name: ``tone-2`` → ``tone_2``.

    ``model_`` stands before what begins with a digit, ``_model`` behind what may be taken: a keyword, ``main``, a name
    of the library's, a function of C, or one in capitals, which may be a macro.
    """
    result = _words(stem)
    if not re.match("[A-Za-z]", result):
        return f"model_{result}".rstrip("_")
    taken = result.isupper() or result in _TAKEN or result in ("main", *_FUNCTIONS.split(), *_LIBRARIES)
    return f"{result}_model" if taken else result


def layer_namespace(name: str, taken: Container[str]) -> str:
    """``layer_`` before the layer's name, as far as C++ allows that: ``in-1.a`` → ``layer_in_1_a``.

    With the prefix no keyword and no macro is met, whatever the layer is called. ``_2``, ``_3``, … follow where two
    names would become one.
    """
    base = result = f"layer_{_words(name)}".rstrip("_")
    k = 1
    while result in taken:
        k += 1
        result = f"{base}_{k}"
    return result


def _words(name: str) -> str:
    """Never two underscores in a row, none at the ends: C++ keeps those names for itself."""
    return re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")


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
    if parts[0] in _LIBRARIES:
        raise ValueError(f"namespace {namespace!r}: '{parts[0]}' is a library's own, choose another")
    if parts[0] == "main":
        raise ValueError(f"namespace {namespace!r}: 'main' is a program's first function, choose another")
    if parts[0].startswith("_"):
        raise ValueError(
            f"namespace {namespace!r}: names that begin with '_' are reserved in C++ where this one stands"
        )
    return namespace
