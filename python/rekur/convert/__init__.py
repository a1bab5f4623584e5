"""Models and weights of other programs: read as models of rekur, and written in their forms.

    model = rekur.convert.load("model.keras")
    model = rekur.convert.load("lstm.pt", layers=["rnn", "last", "head"])
    rekur.convert.save(model, "model.keras")

What a file says is taken from it; what it does not say and the numbers depend on is asked for by an error that names
the argument. No code of a file is run. docs/convert.md has the table of formats.
"""

from rekur.convert._api import detect, info, load, load_parts, save, to_object
from rekur.convert._registry import Format, formats

__all__ = ["Format", "detect", "formats", "info", "load", "load_parts", "save", "to_object"]
