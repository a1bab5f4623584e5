"""``rekur convert IN OUT``."""

import argparse
import json
import os
from typing import Any

from rekur.convert import _registry
from rekur.convert._api import CHAIN_OPTIONS, load, save
from rekur.convert._source import Source


def run(options: argparse.Namespace) -> None:
    """Read one file, write the other, and say what was read."""
    given = dict(_option(text) for text in options.option)
    source = Source(options.source)
    entry = _registry.named(options.read_as) if options.read_as else _registry.recognised(source)
    target = _registry.named(options.write_as) if options.write_as else _registry.by_suffix(options.target)
    if os.path.exists(options.target) and os.path.samefile(options.source, options.target):
        raise ValueError(f"'{options.target}' is the model itself; give the new file another name")
    known = None if entry.load_options is None else {**entry.load_options, **(CHAIN_OPTIONS if entry.parts else {})}
    reading: dict[str, Any] = {}
    writing: dict[str, Any] = {}
    for key, value in given.items():
        takers = [
            taken for taken, names in ((reading, known), (writing, target.save_options)) if names and key in names
        ] or [taken for taken, names in ((reading, known), (writing, target.save_options)) if names is None]
        if not takers:
            raise ValueError(f"neither {entry.name!r} nor {target.name!r} has an option '{key}'")
        for taken in takers:
            taken[key] = value
    try:
        model = load(options.source, entry.name, **reading)
        save(model, options.target, target.name, **writing)
    except TypeError as error:  # what a value of an option is not
        raise ValueError(str(error)) from None
    rate = "" if model.sample_rate is None else f", {model.sample_rate:g} Hz"
    print(f"{options.source}: {entry.title}, {len(model.layers)} layers, {model.count_params()} parameters{rate}")
    print(f"{options.target}: {target.title}, {os.path.getsize(options.target)} bytes")


def _option(text: str) -> tuple[str, Any]:
    """``NAME=VALUE``, the value as JSON where it is, else as text."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ValueError(f"--option: expected NAME=VALUE, got {text!r}")
    try:
        return name, json.loads(value)
    except RecursionError:
        raise ValueError(f"--option {name}: its JSON is nested too deeply") from None
    except ValueError as error:
        if value.lstrip()[:1] in ("[", "{"):
            raise ValueError(f"--option {name}: its value begins as JSON and is none: {error}") from None
        return name, value
