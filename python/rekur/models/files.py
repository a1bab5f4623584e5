"""What a model is as data: its file, its configuration, what it was compiled with."""

import itertools
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from rekur._model_files import read_model
from rekur._own import check_arguments, named_after
from rekur._spec import Spec, dumps
from rekur._validate import WEIGHT_TYPE, Floats, boolean, check_suffix, integer, show
from rekur.layers.parts import parts_of
from rekur.models.structure import Structure
from rekur.models.tree import tree_of
from rekur.training.by_batch import unflatten

if TYPE_CHECKING:
    from rekur._quantize import Quantized

TRAINING = "rekur.training"  # key of a file's metadata


@named_after("rekur.models", "Model")
class Saved(Structure):
    """The part of a model that is written and read."""

    def save(self, filepath: str | os.PathLike[str], *, weights: str = "float32", **options: NoReturn) -> None:
        """Write the model to one ``.safetensors`` file: weights, spec and, if compiled, what it was compiled with.

        That is losses, metrics, the optimiser and its state, so that training can go on from the file.

        The path holds the old file or the whole new one, never a piece. A symbolic link stays and the file behind it is
        replaced; a file that is there keeps its permissions. A process that is killed while it saves leaves
        ``.NAME.rekur-….tmp`` beside the path, which the next save to the same path removes. Metrics that are Python
        code are not saved, nor is anything that was compiled with a :class:`rekur.losses.Numpy` (a warning says so).

        Parameters
        ----------
        filepath : str or path
        weights : str
            ``"bf16"`` or ``"fp16"``: kernels and embeddings in sixteen bits, each the nearest such number to what it is
            here. :func:`rekur.quantize` tells what that costs. What is loaded of such a file computes in float32.
            ``"int8"``: the matrices that layers of precision int8 read as integers, with a scale for each column as
            ``NAME.scale``; all else is float32. What is loaded of such a file computes the same bits as this model.

        Raises
        ------
        OSError
            If the file cannot be written.
        ValueError
            If a weight is too large for fp16, or for int8 not finite; for int8 if no layer reads such a matrix.
        """
        if options:
            check_arguments(options, Saved.save)
        path = check_suffix(filepath, "save")
        weights = WEIGHT_TYPE(weights, "save: weights")
        engine = self._engine()
        tensors, training = self._training_state()
        engine.save(os.fsencode(path), tensors, {TRAINING: dumps(training)}, weights)

    def pack(
        self,
        filepath: str | os.PathLike[str],
        *,
        isas: str | Sequence[str] | None = None,
        streams: str = "one",
        **options: NoReturn,
    ) -> None:
        """Write a file that C and C++ programs use where it lies, in flash or mapped, without a copy of the weights.

        It has the weights, the spec and, for streams, the weights once more in the order in which their kernels read
        them. :func:`rekur.load` and ``Model::load`` read it like any other file, ``Model::map`` and
        ``rekur_model_map`` use it in place. What the model was compiled with is not part of it.

        Parameters
        ----------
        filepath : str or path
        isas : str or sequence of str
            Instruction sets that streams will run on, of those that this machine has:
            :func:`rekur.available_isas`. None: the one in use. On any other, and where a processor's caches or
            products of eight bits differ, a stream packs for itself.
        streams : str
            Which streams the file has weights for: ``"one"``, those of a batch of 1; ``"more"``, those of a larger
            one; ``"both"``; ``"none"``.

        Raises
        ------
        OSError
            If the file cannot be written.
        ValueError
            If this machine lacks an instruction set, or the model cannot go one step at a time and ``streams`` is not
            ``"none"``.
        """
        if options:
            check_arguments(options, Saved.pack)
        path = check_suffix(filepath, "pack")
        kinds = ("one", "more", "both", "none")
        if streams not in kinds:
            raise ValueError(f"pack: streams: expected one of {', '.join(map(repr, kinds))}, got {streams!r}")
        names: list[str] = [isas] if isinstance(isas, str) else list(isas or ())
        one, more = streams in ("one", "both"), streams in ("more", "both")
        self._engine().pack(os.fsencode(path), names, one, more, {TRAINING: dumps(self._saved())})

    def quantize(
        self,
        mode: str = "int8",
        *,
        data: Any = None,
        targets: Any = None,
        keep: Sequence[str] = (),
        largest_loss: float | None = None,
        **options: NoReturn,
    ) -> "Quantized":
        """Round the model's own matrices, as :func:`rekur.quantize` does those of a copy.

        Its layers stay the objects they are, and it stays compiled; an optimiser begins anew. Models that were made of
        its layers before share the rounded weights and keep the precision that they were built with.

        Parameters
        ----------
        mode : str
            ``weights`` of :func:`rekur.quantize`: ``"int8"``, ``"bf16"`` or ``"fp16"``.
        data, targets, keep, largest_loss
            As there.

        Returns
        -------
        Quantized
            Its model is this one.

        Raises
        ------
        ValueError
            As there; with ``"int8"`` also for a layer whose weights another model has. Nothing is changed then.
        """
        if options:
            check_arguments(options, Saved.quantize)
        from rekur._quantize import quantize_in_place  # which is made of models

        return quantize_in_place(
            self,  # type: ignore[arg-type]
            mode,
            data=data,
            targets=targets,
            keep=keep,
            largest_loss=largest_loss,
        )

    def save_weights(self, filepath: str | os.PathLike[str], *, weights: str = "float32", **options: NoReturn) -> None:
        """Write the model as :meth:`save` does, but as if it were not compiled: no losses, no optimiser's state.

        Parameters
        ----------
        filepath : str or path
        weights : str
            As for :meth:`save`.

        Raises
        ------
        OSError
            If the file cannot be written.
        ValueError
            As of :meth:`save`.
        """
        if options:
            check_arguments(options, Saved.save_weights)
        path = check_suffix(filepath, "save_weights")
        weights = WEIGHT_TYPE(weights, "save_weights: weights")
        self._engine().save(os.fsencode(path), {}, {TRAINING: dumps(self._saved())}, weights)

    def save_pretrained(self, save_directory: str | os.PathLike[str], **options: Any) -> None:
        """Write the model as a folder of the Hugging Face hub: :func:`rekur.hub.save_pretrained`."""
        from rekur import hub

        hub.save_pretrained(self, save_directory, **options)

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Upload the model to the Hugging Face hub: :func:`rekur.hub.push_to_hub`."""
        from rekur import hub

        return hub.push_to_hub(self, repo_id, **options)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], **options: Any) -> Any:
        """A model of a folder or a repository of the Hugging Face hub: :func:`rekur.hub.from_pretrained`."""
        from rekur import hub

        return hub.from_pretrained(pretrained_model_name_or_path, **options)

    def load_weights(
        self,
        filepath: str | os.PathLike[str],
        skip_mismatch: bool = False,
        *,
        by_name: bool = False,
        **options: NoReturn,
    ) -> None:
        """Take over the weights of a file of :meth:`save` or :meth:`save_weights`; the rest of the model stays.

        Parameters
        ----------
        filepath : str or path
        skip_mismatch : bool
            Whether weights of another name or shape than the file's are left as they are, with a warning.
        by_name : bool
            Take the weights that both have by their names, ``"lstm/kernel"``; the model's others stay.

        Raises
        ------
        OSError
            If the file cannot be read or is not a complete, valid file.
        ValueError
            If its parameters have other names or shapes than this model's; nothing is changed then.
        """
        if options:
            check_arguments(options, Saved.load_weights)
        skip, named = boolean(skip_mismatch, "load_weights: skip_mismatch"), boolean(by_name, "load_weights: by_name")
        engine = self._engine()
        core, _, _ = read_model(filepath)
        here, there = ({name: tuple(shape) for name, shape, _ in c.parameters} for c in (engine, core))
        wrong = [name for name in here if name in there and here[name] != there[name]]
        if not named:
            wrong = [name for name in {**here, **there} if here.get(name) != there.get(name)]
        pairs: Iterator[Any] = itertools.zip_longest(here.items(), there.items())
        if named:
            pairs = iter([((name, here[name]), (name, there[name])) for name in wrong])
        if not skip and (differing := next((pair for pair in pairs if pair[0] != pair[1]), None)):
            wanted, found = (
                f"'{one[0]}' of shape {show(one[1])}" if one else "no further parameter" for one in differing
            )
            raise ValueError(f"{os.fspath(filepath)}: model '{self.name}' expected {wanted}, the file has {found}")
        if kept := [name for name in wrong if name in here]:
            warnings.warn(
                f"{os.fspath(filepath)}: weights of model '{self.name}' that stay as they are, since the file has none "
                f"of their names and shapes: {', '.join(kept)}",
                stacklevel=2,
            )
        arrays = unflatten(core, core.get_weights())
        self._assign({name: arrays[name] for name in here if name in there and name not in wrong})

    def _training_state(self) -> tuple[dict[str, Floats], Spec]:
        if self._compiled is None:
            return {}, self._saved()
        bound = self._trainer()
        if bound.unsaved():
            warnings.warn(
                f"saved as if it were not compiled, since a file holds no Python code: the loss "
                f"{', '.join(bound.unsaved())} of rekur.losses.Numpy, and with it the other losses, metrics and the "
                "optimizer's state; compile again after loading. A loss written in rekur.ops is saved",
                stacklevel=3,
            )
            return {}, self._saved()
        return bound.state(), {**self._saved(), **bound.saved()}

    def _saved(self) -> Spec:
        """What a file says of the model beside the spec: its seed, whether it is a Sequential, the models within it."""
        self._sync_trained()
        nested = any(
            parts_of(member) is not None or member.config() != member._engine_config() for member in self._graph
        )
        saved: Spec = {"model_seed": self.seed, **({"model_tree": tree_of(self)} if nested else {})}
        if self._tokenizer is not None:
            from rekur.data.text import described

            saved["tokenizer"] = described(self._tokenizer)
        if self._seq2seq is not None:
            saved["seq2seq"] = self._seq2seq
        return saved

    def _resume(self, tensors: dict[str, Floats], training: Spec) -> None:
        """Compile as a saved model was, and take over its optimiser's state."""
        if "optimizer" not in training:
            return
        self._compiled_as(training)
        epochs = integer(training.get("epochs", 0), "epochs of the file", 0)  # older files do not say
        self._trainer().set_state(tensors, training["iterations"], epochs)

    def _compiled_as(self, training: Mapping[str, Any]) -> None:
        losses = training["losses"]
        flags = training.get("weighted", [[True] * len(metrics) for metrics in training["metrics"]])  # older files: all
        plain, weighted = (
            [
                [metric for metric, weighed in zip(metrics, marks, strict=True) if weighed is wanted]
                for metrics, marks in zip(training["metrics"], flags, strict=True)
            ]
            for wanted in (False, True)
        )
        targets = training.get("targets", ["any"] * len(losses))  # what Python checks of those of recorded losses
        self.compile(
            optimizer=training["optimizer"],
            loss=[
                loss if loss is None or target == "any" else {**loss, "target": target}
                for loss, target in zip(losses, targets, strict=True)
            ],
            metrics=plain if any(plain) else None,
            weighted_metrics=weighted if any(weighted) else None,
            loss_weights=training["loss_weights"],
            seed=training["seed"],
            remat=training.get("remat", False),
            precision=training.get("precision", "float32"),
        )

    # Configurations.

    def get_config(self) -> dict[str, Any]:
        """Layers and their connections as plain data, without weights: what :meth:`from_config` makes a model of.

        A class of your own, whose ``call`` says what it is, gives its constructor's arguments.
        """
        from rekur.models.configs import functional_config

        self._engine()
        return functional_config(self)  # type: ignore[arg-type]

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
        """A model, with new weights, of what :meth:`get_config` gave.

        Parameters
        ----------
        config : dict
        custom_objects : dict, optional
            Classes of your own by name.

        Raises
        ------
        ValueError
            For a class that there is not here.
        """
        from rekur.models.configs import functional_of

        if "layers" not in config:
            return cls(**config)
        return functional_of(config, custom_objects)

    def to_json(self, **options: Any) -> str:
        """The configuration, and what the model was compiled with, for :func:`rekur.models.model_from_json`.

        Parameters
        ----------
        **options
            Of ``json.dumps``.

        Raises
        ------
        TypeError
            If a layer holds Python code.
        """
        from rekur.models.configs import to_json

        return to_json(self, **options)  # type: ignore[arg-type]

    def get_compile_config(self) -> dict[str, Any] | None:
        """What the model was compiled with, as plain data; None where it was not, or that is Python code.

        Metrics that are Python code are left out, with a warning.
        """
        if self._compiled is None:
            return None
        bound = self._trainer()
        if bound.unsaved():
            return None
        saved = bound.saved()
        keys = ("optimizer", "losses", "loss_weights", "metrics", "weighted", "seed", "remat", "precision")
        return {key: saved[key] for key in keys if key in saved}

    def compile_from_config(self, config: Mapping[str, Any]) -> None:
        """Compile as :meth:`get_compile_config` says."""
        from rekur.models.configs import reading

        with reading("compile_from_config"):
            self._compiled_as(config)
