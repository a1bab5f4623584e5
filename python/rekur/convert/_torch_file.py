"""What is in a file of PyTorch: read by torch itself, with weights_only, so that no code of the file is run."""

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from rekur._validate import did_you_mean
from rekur.convert._needs import needed
from rekur.convert._source import Source

_DEEPEST = 4  # of dicts within dicts that are looked through


def is_torch_file(source: Source) -> bool:
    """Whether it is a file of ``torch.save``: a ZIP archive with a pickle in a folder, or an older file's pickle."""
    if any(name.endswith("/data.pkl") for name in source.zip_names):
        return True
    return source.is_file and source.name.endswith((".pt", ".pth", ".ckpt", ".bin")) and source.head[:2] in _PICKLES


_PICKLES = tuple(bytes((0x80, version)) for version in range(2, 6))


class Inert:
    """Stands for a class that a file names beside its tensors (settings, losses, schedules): it does nothing."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        pass

    def extend(self, values: Any) -> None:
        pass


def contents(source: Source) -> Any:
    """What ``torch.load(weights_only=True)`` gives; an Inert for what is neither tensors nor plain data.

    Checkpoints of training programs (Lightning, Darts, NeuralForecast, GluonTS) hold settings beside the weights, as
    objects of their classes. torch's reader of weights is told to make an Inert in their place: the classes are not
    imported, and none of their code is run.

    Raises
    ------
    ImportError
        Without torch.
    ValueError
        If the file is broken, or torch refuses more than the classes that it names.
    """
    torch = needed("torch", "reading files of torch.save")
    import pickle

    def read() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(source.path, map_location="cpu", weights_only=True)

    try:
        try:
            return read()
        except pickle.UnpicklingError as error:
            refused = error
        serialization = torch.serialization
        if not source.zip_names or not hasattr(serialization, "get_unsafe_globals_in_checkpoint"):
            raise refused
        named = serialization.get_unsafe_globals_in_checkpoint(source.path)
        stands = [(type("Inert", (Inert,), {}), name) for name in named]
        try:
            with serialization.safe_globals(stands):
                found = read()
        except Exception:
            raise refused from None
        if not any(True for _ in _places(found, "", _DEEPEST)):
            raise refused
        return found
    except pickle.UnpicklingError as error:
        reason = str(error)
        wanted = next((line for line in reason.splitlines() if "GLOBAL" in line or "Unsupported" in line), "")
        raise ValueError(
            f"{source}: it holds more than tensors and plain data, and making that would run code of the file"
            f"{': ' + wanted.strip() if wanted else ''}. Load it in torch and save model.state_dict(), or give "
            "rekur.convert.load the module"
        ) from None
    except (RuntimeError, EOFError, KeyError, IndexError, TypeError, AttributeError, AssertionError) as error:
        raise ValueError(f"{source}: torch cannot read it: {error}") from None
    except RecursionError:
        raise ValueError(f"{source}: torch cannot read it: it is nested too deeply") from None


def state_dict(found: Any, what: str, key: str | None = None) -> dict[str, Any]:
    """The one state_dict of a checkpoint.

    Parameters
    ----------
    found : object
        What the file holds: a state_dict, or a dict that has one somewhere.
    what : str
        For errors.
    key : str, optional
        Where it is, with dots between the keys.

    Raises
    ------
    ValueError
        If there is none, or several and ``key`` does not say which.
    """
    places = dict(_places(found, "", _DEEPEST))
    if key is not None:
        if key not in places:
            raise ValueError(f"{what}: key: there is no state_dict at '{key}'{did_you_mean(key, places)}")
        return dict(places[key])
    if not places:
        raise ValueError(f"{what}: there is no state_dict in it, a dict of tensors by name; it is {_shown(found)}")
    if len(places) > 1 and "" not in places:
        listed = ", ".join(repr(place) for place in places)
        raise ValueError(f"{what}: it holds several dicts of tensors: {listed}; say which by key=")
    return dict(places[""] if "" in places else next(iter(places.values())))


def _places(found: Any, place: str, depth: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if not isinstance(found, Mapping) or not found:
        return
    if all(isinstance(name, str) and _is_tensor(value) for name, value in found.items()):
        yield place, found
    elif depth:
        for name, value in found.items():
            if isinstance(name, str):
                yield from _places(value, f"{place}.{name}" if place else name, depth - 1)


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")


def _shown(found: Any) -> str:
    if isinstance(found, Mapping):
        return "a dict of " + ", ".join(repr(key) for key in list(found)[:8])
    return f"of type {type(found).__name__}"
