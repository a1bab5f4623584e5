"""Packages that some formats need, imported when first used."""

import importlib
from typing import Any

_EXTRAS = {
    "flax": "flax",
    "equinox": "equinox",
    "jax": "jax",
    "h5py": "keras",
    "torch": "torch",
    "huggingface_hub": "hub",
}


def needed(package: str, what: str) -> Any:
    """The package.

    Raises
    ------
    ImportError
        If it is not installed; the message names the extra.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        if error.name not in (None, package):
            raise
        hint = f'pip install "rekur[{_EXTRAS[package]}]"' if package in _EXTRAS else f"pip install {package}"
        raise ImportError(f"{what} needs {package}: {hint}", name=package) from None
