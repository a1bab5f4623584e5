"""Where onnxruntime is called: what would end the process is found before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


class EmptyInput(ValueError):
    """An input without a row, a time step or a feature."""


def check_filled(feed: Mapping[str, Any]) -> None:
    """Raises EmptyInput where an axis of an input has size 0."""
    for name, array in feed.items():
        shape = np.shape(array)
        if 0 in shape:
            what = "an empty batch" if shape[0] == 0 else "an empty sequence"
            raise EmptyInput(
                f"input '{name}' has shape {shape}: on {what} onnxruntime's LSTM and GRU would end the process; "
                "expected at least one row and one time step"
            )


def run_session(session: Any, feed: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
    """All outputs of an onnxruntime session.

    onnxruntime's LSTM and GRU abort the whole process on an empty batch, GRU on an empty sequence too (1.32.0; the
    RNN gives empty outputs), and whether there is one in the file a session does not say: empty inputs are refused.

    Raises
    ------
    EmptyInput
        An axis of an input has size 0.
    Exception
        onnxruntime's own, which share no public base class.
    """
    check_filled(feed)
    return list(session.run(None, dict(feed)))
