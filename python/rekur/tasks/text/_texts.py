"""Texts as users have them: lists, arrays, columns of frames; one text, or a file of it."""

import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from rekur._validate import check_mask


def read_texts(given: Any, what: str = "X", *, empty: bool = True, least: int = 1) -> list[str]:
    """The texts of what a user gave.

    Parameters
    ----------
    given : list, array, or pandas or polars Series of str
        Of shape (N,), or (N, 1) as a frame of one column is.
    what : str
        The argument's name, for errors.
    empty : bool
        Whether a text may be "".
    least : int
        The fewest texts.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, and the place of a text at fault.
    """
    if given is None:
        raise ValueError(f"{what}: expected texts, a list of str, got None")
    if isinstance(given, (str, bytes)):
        raise ValueError(f"{what}: expected texts, a list of str, got one, {given!r:.40}; [text] is a list of it")
    if isinstance(given, Mapping) or not (isinstance(given, Iterable) or hasattr(given, "__array__")):
        raise TypeError(f"{what}: expected texts, a list of str, got {_kind(given)}")
    check_mask(given, what)
    texts = _column(given, what)
    for number, text in enumerate(texts):
        if type(text) is not str:
            if isinstance(text, str):  # NumPy's
                texts[number] = str(text)
                continue
            missing = text is None or (isinstance(text, float) and text != text) or type(text).__name__ == "NAType"
            hint = ": a missing text; leave its row out, or put '' there" if missing else ""
            error = ValueError if missing else TypeError
            raise error(f"{what}[{number}]: expected a text, a str, got {_kind(text)}{hint}")
        if not empty and not text:
            raise ValueError(f"{what}[{number}]: the text is empty")
    if len(texts) < least:
        raise ValueError(f"{what}: expected {least} text{'s' if least > 1 else ''} or more, got {len(texts)}")
    return texts


def _column(given: Any, what: str) -> list[Any]:
    if isinstance(given, list):
        return list(given)
    shape = getattr(given, "shape", None)
    if shape is not None and len(shape) == 2 and shape[1] == 1:
        given = np.asarray(given, dtype=object)[:, 0]
    elif shape is not None and len(shape) != 1:
        raise ValueError(f"{what}: expected texts of shape (N,), got shape {tuple(shape)}")
    if hasattr(given, "to_list"):  # a Series, of pandas or polars
        return list(given.to_list())
    if isinstance(given, np.ndarray):
        found = given.tolist()
        assert isinstance(found, list)
        return found
    return list(given)


def _kind(value: Any) -> str:
    if value is None or isinstance(value, (int, float)):
        return repr(value)
    return f"a {type(value).__name__}"


def read_corpus(given: Any, what: str = "X") -> tuple[list[str], bool]:
    """Texts to learn to write: one, several, or a file's; and whether it is one that runs through.

    Parameters
    ----------
    given : str, path, or texts as of :func:`read_texts`
        A ``pathlib.Path`` is a file of UTF-8 text.

    Raises
    ------
    OSError
        If the file cannot be read.
    TypeError, ValueError
        For no text at all, and for a str that is the name of a file.
    """
    if isinstance(given, os.PathLike):
        try:
            with open(given, encoding="utf-8") as file:
                text = file.read()
        except UnicodeDecodeError as error:
            raise ValueError(f"{what}: the file '{os.fspath(given)}' is no UTF-8 text: {error}") from None
        if not text:
            raise ValueError(f"{what}: the file '{os.fspath(given)}' is empty")
        return [text], True
    if isinstance(given, str):
        if not given:
            raise ValueError(f"{what}: the text is empty")
        if len(given) < 1000 and "\n" not in given and os.path.isfile(given):
            raise ValueError(f"{what}: {given!r} is the name of a file: pass pathlib.Path({given!r}) to read it")
        return [given], True
    texts = read_texts(given, what)
    kept = [text for text in texts if text]
    if not kept:
        raise ValueError(f"{what}: all {len(texts)} texts are empty")
    return kept, False
