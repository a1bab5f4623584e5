"""Optuna, imported when somebody searches."""

from typing import Any


def optuna() -> Any:
    """The module.

    Raises
    ------
    ImportError
        If it is not installed, saying how to.
    """
    try:
        import optuna as found
    except ImportError as error:
        raise ImportError('rekur.tune needs Optuna:  pip install "rekur[tune]"', name="optuna") from error
    if not hasattr(found.trial.Trial, "set_constraint"):
        raise ImportError(f"rekur.tune needs Optuna 5 or later, this is {found.__version__}", name="optuna")
    return found
