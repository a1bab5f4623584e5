"""Models as folders of the Hugging Face hub: config.json, model.safetensors and README.md, the model's card.

    rekur.hub.save_pretrained(model, "forecaster")            # a folder, without a network
    model = rekur.hub.from_pretrained("forecaster")
    model = rekur.hub.from_pretrained("someone/forecaster")   # from the hub; rekur.load("hf://someone/forecaster") too

Folders need no package; what goes over the network is huggingface_hub's, the extra ``hub``. model.safetensors is what
``model.save`` writes and holds all of the model; config.json repeats what it is for readers that look there.
"""

import contextlib
import json
import os
from collections.abc import Sequence
from typing import Any

from rekur import _files
from rekur._core import __version__
from rekur._validate import as_path

__all__ = ["from_pretrained", "model_card", "push_to_hub", "save_pretrained"]

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
_LIBRARY = "rekur"
SCHEME = "hf://"


def save_pretrained(
    model: Any,
    save_directory: str | os.PathLike[str],
    *,
    weights: str = "float32",
    repo_id: str | None = None,
    license: str | None = None,
    language: str | Sequence[str] | None = None,
    tags: Sequence[str] = (),
    description: str = "",
) -> None:
    """Write a model as a folder, as :class:`huggingface_hub.ModelHubMixin` does.

    A README.md that is there already stays as it is, since somebody may have written in it.

    Parameters
    ----------
    model : Model
    save_directory : str or path
        Made where it does not exist.
    weights : str
        As of :meth:`rekur.Model.save`.
    repo_id, license, language, tags, description
        As of :func:`model_card`.

    Raises
    ------
    OSError
        If a file cannot be written.
    ValueError, TypeError
        As of :meth:`rekur.Model.save` and :func:`model_card`.
    """
    folder = as_path(save_directory, "save_pretrained: save_directory")
    card = model_card(model, repo_id=repo_id, license=license, language=language, tags=tags, description=description)
    config = json.dumps(_config(model), indent=2) + "\n"
    there = os.path.isdir(folder)
    os.makedirs(folder, exist_ok=True)
    try:
        model.save(os.path.join(folder, WEIGHTS), weights=weights)
    except BaseException:
        if not there:
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        raise
    _files.write_atomic(os.path.join(folder, CONFIG), config.encode())
    if not os.path.exists(os.path.join(folder, CARD)):
        _files.write_atomic(os.path.join(folder, CARD), card.encode())


def from_pretrained(
    pretrained_model_name_or_path: str | os.PathLike[str],
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    force_download: bool = False,
    local_files_only: bool = False,
    token: str | bool | None = None,
    compile: bool = True,
) -> Any:
    """A model of a folder of :func:`save_pretrained`, or of a repository of the hub.

    Parameters
    ----------
    pretrained_model_name_or_path : str or path
        A folder, or ``"someone/name"`` where there is no such folder; ``"hf://someone/name@revision"`` is never one.
    revision : str, optional
        A branch, a tag or a commit of the repository.
    cache_dir, force_download, local_files_only, token
        As of ``huggingface_hub.hf_hub_download``.
    compile : bool
        As of :func:`rekur.load`.

    Returns
    -------
    Model or Sequential

    Raises
    ------
    OSError
        If there is no such folder, file or repository, or it cannot be reached.
    ImportError
        If a repository is asked for and huggingface_hub is not installed.
    ValueError
        If it is of another library, or a name that is none.
    """
    from rekur.models import load_model

    name = as_path(pretrained_model_name_or_path, "from_pretrained")
    if not name.startswith(SCHEME) and os.path.isdir(name):
        _check_library(os.path.join(name, CONFIG), name)
        if not os.path.isfile(os.path.join(name, WEIGHTS)):
            raise FileNotFoundError(f"'{name}': there is no {WEIGHTS} in the folder")
        return load_model(os.path.join(name, WEIGHTS), compile=compile)
    if not name.startswith(SCHEME) and (os.path.isabs(name) or name.startswith(".") or name.count("/") > 1):
        raise FileNotFoundError(f"there is no folder '{name}'")
    repository, given, file = _parts(name)
    if given is not None and revision not in (None, given):
        raise ValueError(f"from_pretrained: '{name}' says revision {given!r}, and revision={revision!r}")
    options: dict[str, Any] = {
        "revision": given or revision,
        "cache_dir": cache_dir,
        "force_download": force_download,
        "local_files_only": local_files_only,
        "token": token,
    }
    hub = _hub(name)
    if file == WEIGHTS:
        config = _download(hub, repository, CONFIG, options, optional=True)
        if config is not None:
            _check_library(config, f"{SCHEME}{repository}")
    path = _download(hub, repository, file, options)
    assert path is not None
    return load_model(path, compile=compile)


def push_to_hub(
    model: Any,
    repo_id: str,
    *,
    commit_message: str = "Push model using rekur.",
    private: bool | None = None,
    token: str | bool | None = None,
    branch: str | None = None,
    **card: Any,
) -> str:
    """Upload a model as a repository of the hub, which is made where it does not exist.

    Parameters
    ----------
    model : Model
    repo_id : str
        ``"someone/name"``.
    commit_message, private, token, branch
        As of ``huggingface_hub.ModelHubMixin.push_to_hub``.
    **card
        As of :func:`save_pretrained`.

    Returns
    -------
    str
        The address of the commit.

    Raises
    ------
    ImportError
        If huggingface_hub is not installed.
    OSError
        If the hub cannot be reached or refuses it.
    """
    import tempfile

    repository, _, _ = _parts(SCHEME + repo_id)
    hub = _hub(repo_id)
    with tempfile.TemporaryDirectory() as folder:
        save_pretrained(model, folder, **{"repo_id": repo_id, **card})
        try:
            api = hub.HfApi(token=token, library_name=_LIBRARY, library_version=__version__)
            repository = api.create_repo(repo_id=repository, private=private, exist_ok=True).repo_id
            made = api.upload_folder(
                repo_id=repository, folder_path=folder, commit_message=commit_message, revision=branch
            )
        except Exception as error:
            raise _unreachable(error, repo_id) from error
    return str(made)


def model_card(
    model: Any,
    *,
    repo_id: str | None = None,
    license: str | None = None,
    language: str | Sequence[str] | None = None,
    tags: Sequence[str] = (),
    description: str = "",
) -> str:
    """The text of a README.md: what the model reads and gives, its layers, and how to run it.

    Parameters
    ----------
    model : Model
    repo_id : str, optional
        Where it will be, for the lines that run it.
    license : str, optional
        One of the hub's identifiers, such as ``"apache-2.0"``.
    language, tags
        For the card's head, in the hub's words.
    description : str
        A paragraph of yours.
    """
    if isinstance(tags, (str, bytes)):
        raise TypeError(f"tags: expected a list of texts, got {tags!r}")
    given = [language] if isinstance(language, str) else list(language or ())
    head: dict[str, Any] = {
        "library_name": _LIBRARY,
        "license": license,
        "language": given or None,
        "tags": list(dict.fromkeys([*_tags(model), *tags])),
    }
    lines = ["---", *[line for key, value in head.items() if value for line in _yaml(key, value)], "---", ""]
    lines += [f"# {(repo_id or model.name).rpartition('/')[2]}", ""]
    if description:
        lines += [description.strip(), ""]
    parameters, count = f"{model.count_params():,}", len(model.layers)
    lines += [
        f"A recurrent network of rekur, of {parameters} parameters in {count} {'layer' if count == 1 else 'layers'}.",
        "",
        "| | name | shape | numbers |",
        "|---|---|---|---|",
    ]
    for what, ports in (("input", model._engine().inputs), ("output", model._engine().outputs)):
        for name, shape, dtype in ports:
            shown = ", ".join("any" if n is None else str(n) for n in shape)
            lines.append(f"| {what} | `{name}` | ({shown}) | {dtype} |")
    lines += ["", "| layer | type | output | parameters |", "|---|---|---|---|"]
    for layer in model.layers:
        shapes = getattr(layer, "output_shapes", None) or [model.output_shape]
        shown = "; ".join("(" + ", ".join("any" if n is None else str(n) for n in s) + ")" for s in shapes)
        lines.append(f"| `{layer.name}` | {type(layer).__name__} | {shown} | {layer.count_params():,} |")
    address = repr(repo_id) if repo_id else "'this folder'"
    lines += ["", "```python", "import rekur", "", f"model = rekur.hub.from_pretrained({address})"]
    lines += ["predicted = model.predict(data)", "```", ""]
    return "\n".join(lines)


def _tags(model: Any) -> list[str]:
    kinds = {type(getattr(layer, "inner", layer)).__name__ for layer in model.layers}
    known = {"LSTM": "lstm", "GRU": "gru", "SimpleRNN": "rnn"}
    return ["recurrent-neural-network", *[tag for kind, tag in known.items() if kind in kinds]]


def _yaml(key: str, value: Any) -> list[str]:
    """Texts as JSON strings, which YAML reads: nothing in them ends the head."""
    if isinstance(value, list):
        return [f"{key}:", *[f"- {json.dumps(str(entry), ensure_ascii=False)}" for entry in value]]
    return [f"{key}: {json.dumps(str(value), ensure_ascii=False)}"]


def _config(model: Any) -> dict[str, Any]:
    engine = model._engine()
    ports = {
        key: [{"name": name, "shape": list(shape), "dtype": dtype} for name, shape, dtype in found]
        for key, found in (("inputs", engine.inputs), ("outputs", engine.outputs))
    }
    return {
        "model_type": _LIBRARY,
        "architectures": [type(model).__name__],
        "library_name": _LIBRARY,
        "library_version": __version__,
        **ports,
        "spec": model.spec,
    }


def _check_library(path: str, what: str) -> None:
    """Raises ValueError if a config.json says that the folder is another library's."""
    try:
        with open(path, "rb") as file:
            found = json.loads(file.read(1 << 28))
    except FileNotFoundError:
        return
    except (ValueError, RecursionError) as error:
        raise ValueError(f"'{what}': its {CONFIG} is no JSON: {error}") from None
    other = found.get("library_name", found.get("model_type", _LIBRARY)) if isinstance(found, dict) else found
    if other != _LIBRARY:
        raise ValueError(
            f"'{what}' is a model of {other!r}, not of rekur; rekur.convert.load reads files of several libraries"
        )


def _parts(name: str) -> tuple[str, str | None, str]:
    """Repository, revision and file of ``hf://someone/name@revision/file``."""
    import re

    text = name.removeprefix(SCHEME)
    match = re.fullmatch(r"([\w.-]+(?:/[\w.-]+)?)(?:@([^/\s]+))?((?:/[^/\s]+)*)", text)
    if match is None or ".." in text.split("/"):
        raise ValueError(
            f"'{name}' is no name of a repository, such as {SCHEME}someone/name or {SCHEME}someone/name@main"
        )
    repository, revision, file = match.groups()
    return repository, revision, file.lstrip("/") or WEIGHTS


def _hub(name: str) -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise ImportError(
            f"'{name}' is a repository of the Hugging Face hub, which is reached by huggingface_hub: "
            'pip install "rekur[hub]"; a folder is read without it',
            name="huggingface_hub",
        ) from error
    return huggingface_hub


def _download(hub: Any, repository: str, file: str, options: dict[str, Any], optional: bool = False) -> str | None:
    try:
        return str(
            hub.hf_hub_download(
                repo_id=repository, filename=file, library_name=_LIBRARY, library_version=__version__, **options
            )
        )
    except hub.errors.EntryNotFoundError as error:
        if optional:
            return None
        raise _unreachable(error, f"{repository}/{file}") from error
    except Exception as error:
        raise _unreachable(error, f"{repository}/{file}") from error


def _unreachable(error: Exception, what: str) -> OSError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return OSError(f"{SCHEME}{what}: the Hugging Face hub did not give it: {reason}")
