"""Columns of a table as numbers: texts as the codes of their categories, infinities as missing."""

import numpy as np

from rekur.tasks._columns import Column, Name
from rekur.tasks._grid import Floats
from rekur.tasks._roles import Roles
from rekur.tasks._series import SeriesSet
from rekur.tasks._tables import Table


def categories_of(table: Table, roles: Roles) -> dict[Name, list[str]]:
    found = {}
    for name in (*roles.past, *roles.future, *roles.static):
        column = table.column(name)
        if column.kind == "text":
            try:
                column.numbers()
            except ValueError:
                found[name] = sorted({str(value) for value in column.values if value is not None})
        elif column.kind == "time":
            raise ValueError(f"column {name!r} holds times; as a covariate give numbers or texts made of them")
    return found


def matrix(table: Table, names: list[Name], known: SeriesSet, notes: list[str]) -> Floats:
    """Columns as numbers side by side, texts as their codes."""
    matrix = np.full((table.rows, len(names)), np.nan)
    for place, name in enumerate(names):
        column = table.column(name)
        role = "target" if name in known.target else "past, future or static"
        if name in known.categories:
            matrix[:, place] = _coded(column, name, known.categories[name], notes)
            continue
        try:
            values = table.numbers(name)
        except ValueError as error:
            raise ValueError(f"{role}: {error}") from None
        if (infinite := np.isinf(values)).any():
            notes.append(f"{int(infinite.sum())} infinite values in {name!r} are taken for missing")
            values = np.where(infinite, np.nan, values)
        matrix[:, place] = values
    return matrix


def _coded(column: Column, name: Name, known: list[str], notes: list[str]) -> Floats:
    codes = {text: float(code) for code, text in enumerate(known)}
    texts = column.texts()
    unknown = sorted({text for text in texts if text is not None and text not in codes})
    if unknown:
        listed = ", ".join(map(repr, unknown[:5])) + (", …" if len(unknown) > 5 else "")
        notes.append(f"{name!r} holds what training did not have ({listed}): all of it counts as one unknown kind")
    return np.array([codes.get(text, float(len(known))) if text is not None else float(len(known)) for text in texts])


def rules_of(known: SeriesSet, names: list[Name], targets: bool) -> list[str]:
    aggregate = known.layout.aggregate
    rules = []
    for name in names:
        usual = "last" if name in known.categories else "mean"
        if isinstance(aggregate, dict):
            rules.append(aggregate.get(name, usual))
        else:
            rules.append(str(aggregate) if targets else usual)
    return rules
