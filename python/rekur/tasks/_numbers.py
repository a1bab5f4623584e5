"""Numbers that stand as text: decimal commas, marks of thousands, signs of money and per cent."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur.tasks._dates import is_missing

_THOUSANDS = {
    ".": re.compile(r"[-+]?\d{1,3}(?:,\d{3})*(?:\.\d*)?(?:e[-+]?\d+)?", re.IGNORECASE),
    ",": re.compile(r"[-+]?\d{1,3}(?:\.\d{3})*(?:,\d*)?(?:e[-+]?\d+)?", re.IGNORECASE),
}
_BARE = {
    mark: re.compile(rf"[-+]?\d+(?:{re.escape(mark)}\d*)?(?:e[-+]?\d+)?|[-+]?{re.escape(mark)}\d+", re.IGNORECASE)
    for mark in ".,"
}


_NAME = re.compile(r"\s*0\d+\s*")
_GAP = re.compile(r"(?<=\d)[\s'’\u00a0\u202f](?=\d{3}(?!\d))")  # of thousands
_SIGN = re.compile(r"^([-+(]?)[$€£]\s?|\s?[%€$£](?=\)?$)")


def plain_numbers(texts: Sequence[Any]) -> NDArray[Any] | None:
    """Numbers as programs write them, without a missing one among them; None if some text is something else.

    Integers stay integers. Numbers with leading zeros (``007``) are none: they are names.
    """
    try:
        numbers = np.array([float(text) for text in texts], np.float64)
    except (ValueError, TypeError):
        return None
    if np.isnan(numbers).any() or any("_" in text for text in texts):
        return None
    if (np.abs(numbers) < 2**53).all() and (numbers == np.floor(numbers)).all():
        stripped = [text.strip() for text in texts]
        if any(text.isdigit() and text[0] == "0" and len(text) > 1 for text in stripped):
            return None
        if all(text.lstrip("+-").isdigit() for text in stripped):
            return numbers.astype(np.int64)
    elif all(text.strip().lstrip("+-").isdigit() for text in texts):
        try:
            return np.array([int(text) for text in texts], np.int64)
        except (OverflowError, ValueError):  # Python reads no integer of more than 4300 digits
            return numbers
    return numbers


def parse_numbers(texts: Sequence[str], mark: str | None = None) -> tuple[NDArray[Any], str] | None:
    """Numbers as people write them, and a sentence on what was unusual; None if some text is no number.

    ``mark`` is the decimal mark to try first (None: what these texts show, else the point).
    """
    if mark != "," and (plain := plain_numbers(texts)) is not None:
        return plain, ""
    if any(text.lstrip()[:1] == "0" and _NAME.fullmatch(text) for text in texts):
        return None  # 007 is a name
    if len(texts) > 50 and parse_numbers(texts[:50], mark) is None:
        return None  # most columns of texts are told from their first ones
    cleaned = [_GAP.sub("", text.strip().replace("−", "-")) for text in texts]
    signed = [_SIGN.sub(r"\1", text) for text in cleaned]
    note = ""
    if (first := next((old for old, new in zip(cleaned, signed, strict=True) if old != new), None)) is not None:
        note = f"signs as in {first!r} are left out"
    signed = [f"-{text[1:-1]}" if text.startswith("(") and text.endswith(")") else text for text in signed]
    shown = mark or _mark_of(signed) or "."
    for tried in (shown, "," if shown == "." else "."):
        if all(_BARE[tried].fullmatch(text) or _THOUSANDS[tried].fullmatch(text) for text in signed):
            break
    else:
        return None
    other = "," if tried == "." else "."
    numbers = np.array([float(text.replace(other, "").replace(tried, ".")) for text in signed], np.float64)
    grouped = next((text for text in texts if other in text), None)
    if not note and tried == ",":
        note = "numbers are read with a decimal comma"
    elif not note and grouped is not None:
        note = f"the {other!r} in {grouped!r} is read as a mark of thousands"
    return numbers, note


def _mark_of(texts: Sequence[str]) -> str | None:
    """The decimal mark that these numbers can only have; None if both would do, or neither stands there."""
    point = comma = False
    for text in texts:
        last_point, last_comma = text.rfind("."), text.rfind(",")
        if last_point >= 0 and last_comma >= 0:
            point, comma = point or last_point > last_comma, comma or last_comma > last_point
        elif last_comma >= 0:
            comma = comma or (text.count(",") == 1 and not re.fullmatch(r"[-+]?\d{1,3},\d{3}", text))
            point = point or text.count(",") > 1
        elif last_point >= 0:
            point = point or (text.count(".") == 1 and not re.fullmatch(r"[-+]?\d{1,3}\.\d{3}", text))
            comma = comma or text.count(".") > 1
    return None if point == comma else ("." if point else ",")


def decimal_mark(columns: Sequence[Sequence[str]], separator: str) -> str | None:
    """The decimal mark of a whole file: one column often shows what others leave open."""
    texts = [_numeric(column) for column in columns]
    marks = [_mark_of(column) for column in texts]
    if "," in marks and "." not in marks:
        return ","
    if separator != ";" or "." in marks or not any("," in text for column in texts for text in column):
        return None
    return ","  # files with semicolons come from programs that write a decimal comma


def _numeric(column: Sequence[str]) -> list[str]:
    """A column's first texts if all of them may be numbers, without marks of thousands that are blanks."""
    texts = [_GAP.sub("", text.strip()) for text in column[:2000] if not is_missing(text)]
    forms = (*_BARE.values(), *_THOUSANDS.values())
    return texts if all(any(form.fullmatch(text) for form in forms) for text in texts) else []
