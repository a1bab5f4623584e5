"""Counts and lists in words, as sentences about data need them."""

from collections.abc import Iterable
from typing import Any


def sentence(text: str) -> str:
    """With a capital letter and a full stop."""
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."


def counted(count: int, thing: str) -> str:
    """``1 step``, ``8,759 steps``, ``2 series``, ``3 classes``, ``4 categories``."""
    plural = f"{thing[:-1]}ies" if thing.endswith("y") else f"{thing}es" if thing.endswith("ss") else f"{thing}s"
    plural = thing if thing == "series" else plural
    return f"{count:,} {thing if count == 1 else plural}"


def listed(names: Iterable[Any], most: int = 8) -> str:
    """Names with commas between, the first of many."""
    names = [str(name) for name in names]
    return ", ".join(names[:most]) + (f", … ({len(names)})" if len(names) > most else "")
