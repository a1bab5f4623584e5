"""Sequences to sequences: an encoder, a decoder that is trained on the right labels and then goes on with its own."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur import _core
from rekur._generation import Labels, label_rows, logits_of, padded, sampling
from rekur._spec import split_reference
from rekur._split import Halves, halves, in_precision
from rekur._validate import boolean, check_suffix, integer, not_negative, real, show
from rekur.layers.symbolic import SymbolicTensor
from rekur.models.model import Model
from rekur.models.structure import Structure
from rekur.training.data import make_inputs
from rekur.training.steps import make_marks

_SCORES = "return_attention_scores"


class Seq2Seq:
    """A model from a source and the labels so far to the next label, as something that translates.

    The model is an ordinary one of rekur's, of two inputs or more: what the source is, and the labels that came before
    (teacher forcing). In training it sees the right ones: the start label, then the target's. To decode, it is cut
    behind all that does not depend on those labels, which is computed once; the rest goes step by step in the engine.

    Parameters
    ----------
    model : Model
        From the sources and the labels so far, ids of shape (B, T), to the probabilities or logits of the label that
        comes next, (B, T, classes).
    start : int
        The label that the first step reads.
    end : int, optional
        The label that ends a sequence: the model learns to give it.
    labels : str, optional
        The name of the input of labels; by default the last one.
    attention : str or tensor, optional
        The attention paid to the source, (B, T, S), by which a coverage penalty goes: a tensor of the model, or the
        name of an attention layer with return_attention_scores=True.
    from_logits : bool, optional
        Whether the model gives logits, not probabilities; by default what does not end in a softmax or sigmoid does.

    Raises
    ------
    ValueError
        For a model of another kind.

    Examples
    --------
    >>> source, before = layers.Input((None,), dtype="int32"), layers.Input((None,), dtype="int32")
    >>> memory, h, c = layers.LSTM(256, return_sequences=True, return_state=True)(layers.Embedding(8000, 256)(source))
    >>> x = layers.Embedding(8000, 256)(before)
    >>> y = layers.AttentionRNN(layers.LSTMCell(256), "dot", return_sequences=True)(x, memory, initial_state=[h, c])
    >>> model = rekur.Seq2Seq(rekur.Model([source, before], layers.Dense(8000, "softmax")(y)), start=1, end=2)
    >>> model.compile("adam")
    >>> model.fit(sources, targets, lengths=source_lengths, epochs=10)
    >>> labels, scores = model.decode(sources, beam_width=5)
    """

    def __init__(
        self,
        model: Any,
        start: int,
        end: int | None = None,
        labels: str | None = None,
        attention: Any = None,
        from_logits: bool | None = None,
    ) -> None:
        if not isinstance(model, Structure):
            raise TypeError(f"Seq2Seq: expected a model, got {model!r}")
        ports, outputs = model._ports()
        names = [port.name for port in ports]
        self._labels = names[-1] if labels is None else labels
        if self._labels not in names:
            raise ValueError(
                f"Seq2Seq: labels: no input of the model is named '{labels}'; there are {', '.join(names)}"
            )
        if len(names) < 2:
            raise ValueError(
                "Seq2Seq: expected a model of two inputs or more, the source and the labels so far; of labels alone "
                "rekur.generate goes on"
            )
        port = ports[names.index(self._labels)]
        if port.dtype != "int32" or len(port.shape) != 2:
            raise ValueError(
                f"Seq2Seq: {port}: expected ids of shape (B, T), got {port.dtype} of shape {show(port.shape)}"
            )
        if len(outputs) != 1 or len(outputs[0].shape) != 3:
            raise ValueError(
                f"Seq2Seq: expected one output of shape (B, T, classes), got {[show(o.shape) for o in outputs]}"
            )
        self._classes = int(outputs[0].shape[2] or 0)
        self.start = self._checked(start, "start")
        self.end = None if end is None else self._checked(end, "end")
        self.model = model
        self._attention = self._attention_of(attention)
        self._logits = logits_of(model, from_logits, "Seq2Seq")
        self._cut: tuple[_core.Model, Halves, str] | None = None
        self._decoder: _core.Decoder | None = None  # the last one: its weights are packed

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cut": None, "_decoder": None}

    def __repr__(self) -> str:
        return f"<Seq2Seq of {self.model!r}>"

    def _checked(self, value: object, what: str) -> int:
        label = integer(value, f"Seq2Seq: {what}", 0)
        if label >= self._classes:
            raise ValueError(f"Seq2Seq: {what}: expected a label below {self._classes}, got {label}")
        return label

    def _attention_of(self, given: Any) -> str | None:
        """The engine's reference to what is paid to the source."""
        if given is None:
            return None
        if isinstance(given, SymbolicTensor):
            flat = Model(self.model._inputs, [*self.model._outputs, given]).spec
            return str(flat["outputs"][1])
        known = {layer["name"] for layer in self.model.spec["layers"]}
        name = f"{given}.loop" if f"{given}.loop" in known else given  # of an AttentionRNN
        if not isinstance(given, str) or split_reference(name)[0] not in known:
            raise ValueError(
                f"Seq2Seq: attention: expected a tensor of the model or the name of a layer, got {given!r}"
            )
        if any(layer.name == given and not getattr(layer, _SCORES, True) for layer in self.model.layers):
            raise ValueError(f"Seq2Seq: attention: layer '{given}' was made without {_SCORES}=True")
        return name if ":" in name else f"{name}:1"

    # Training: the model's own, of targets.

    def compile(self, optimizer: Any = "rmsprop", loss: Any = None, **options: Any) -> None:
        """As :meth:`rekur.Model.compile`; the loss is the sparse categorical cross-entropy by default."""
        if loss is None:
            from rekur.losses import SparseCategoricalCrossentropy

            loss = SparseCategoricalCrossentropy(from_logits=self._logits)
        self.model.compile(optimizer, loss, **options)

    def fit(
        self,
        x: Any,
        y: Any,
        lengths: Any = None,
        mask: Any = None,
        validation_data: Any = None,
        scheduled_sampling: float | Callable[[int], float] = 0.0,
        **options: Any,
    ) -> Any:
        """Train on sources and targets.

        Parameters
        ----------
        x : array_like, or a list or dict of several sources by input name
        y : array_like of int, shape (B, L), or a list of rows
            Labels without start and end; rows of an array end at the first -1 or end label.
        lengths, mask : array_like, or a dict by input name, optional
            Which steps of the sources there are, as of :meth:`rekur.Model.fit`.
        validation_data : tuple (x, y) or (x, y, lengths), optional
        scheduled_sampling : float, or a function of the epoch
            How probable it is that a step reads what the model draws itself instead of the right label (Bengio et al.,
            arXiv:1506.03099). Each batch is then decoded before it is trained on, without dropout; what is
            drawn goes by the model's seed.
        **options
            Of :meth:`rekur.Model.fit`: batch_size, epochs, callbacks, ….

        Returns
        -------
        History
        """
        inputs, targets, marks = self._rows(x, y, lengths, mask)
        if validation_data is not None:
            options["validation_data"] = self._validation(validation_data)
        if callable(scheduled_sampling) or real(scheduled_sampling, "fit: scheduled_sampling", 0, 1) > 0:
            if options.get("validation_split"):
                raise ValueError("fit: validation_split: with scheduled_sampling, validation_data is given instead")
            from rekur._scheduled import Scheduled

            source = Scheduled(self, inputs, targets, marks, scheduled_sampling, options)
            return self.model.fit(source, workers=0, **options)
        return self.model.fit(inputs, targets, **marks, **options)

    def evaluate(self, x: Any, y: Any, lengths: Any = None, mask: Any = None, **options: Any) -> Any:
        """Loss and metrics of the right labels before each step, as :meth:`rekur.Model.evaluate`."""
        inputs, targets, marks = self._rows(x, y, lengths, mask)
        return self.model.evaluate(inputs, targets, **marks, **options)

    def _sources(self, x: Any, what: str) -> dict[str, Any]:
        names = [port.name for port in self.model._ports()[0] if port.name != self._labels]
        if isinstance(x, Mapping):
            if set(x) != set(names):
                raise ValueError(f"{what}: x: expected the sources {', '.join(names)}, got {', '.join(map(str, x))}")
            return dict(x)
        if len(names) == 1:
            return {names[0]: x}
        if not isinstance(x, (list, tuple)) or len(x) != len(names):
            raise ValueError(f"{what}: x: expected the {len(names)} sources {', '.join(names)}, a list or a dict")
        return dict(zip(names, x, strict=True))

    def _rows(self, x: Any, y: Any, lengths: Any, mask: Any) -> tuple[dict[str, Any], Labels, dict[str, Any]]:
        """What the model is trained on: its inputs, its targets, and which steps there are."""
        found, _ = label_rows(y, self._classes, "fit: y")
        if self.end is not None:
            found = [row[: int(np.argmax(row == self.end))] if (row == self.end).any() else row for row in found]
        last = [] if self.end is None else [self.end]
        if not last and any(not len(row) for row in found):
            raise ValueError("fit: y: a row without labels has nothing to be learnt, where there is no end label")
        counts = np.array([len(row) + len(last) for row in found], np.int32)
        steps = int(counts.max(initial=0))
        read = np.full((len(found), steps), self.start, np.int32)
        targets = np.full((len(found), steps), last[0] if last else 0, np.int32)
        for k, row in enumerate(found):
            whole = [*row.tolist(), *last]
            targets[k, : len(whole)] = whole
            read[k, 1 : len(whole)] = whole[:-1]
        inputs = {**self._sources(x, "fit"), self._labels: read}
        marks: dict[str, Any] = {"lengths": {**self._named(lengths, "lengths"), self._labels: counts}}
        if mask is not None:
            marks["mask"] = self._named(mask, "mask")
        return inputs, targets, marks

    def _named(self, given: Any, what: str) -> dict[str, Any]:
        if given is None:
            return {}
        if isinstance(given, Mapping):
            if self._labels in given:
                raise ValueError(f"fit: {what}: how long targets are, they say themselves")
            return dict(given)
        timed = [p.name for p in self.model._ports()[0] if p.timed and p.name != self._labels]
        if len(timed) != 1:
            raise ValueError(f"fit: {what}: expected a dict by the names of the sources, {', '.join(timed)}")
        return {timed[0]: given}

    def _validation(self, given: Any) -> Any:
        if not isinstance(given, (list, tuple)) or len(given) not in (2, 3):
            raise ValueError("fit: validation_data: expected (x, y) or (x, y, lengths)")
        inputs, targets, marks = self._rows(given[0], given[1], given[2] if len(given) == 3 else None, None)
        return {"x": inputs, "y": targets, **marks}

    # Decoding.

    def _halves(self) -> Halves:
        engine, compiled = self.model._engine(), self.model._compiled
        precision = "float32" if compiled is None else compiled.precision
        if self._cut is None or self._cut[0] is not engine or self._cut[2] != precision:
            if states := self.model._flat().states:
                raise ValueError(
                    f"Seq2Seq: {states[0].layer!r} is stateful, and every decoding begins anew: make it without that"
                )
            spec = in_precision(self.model.spec, precision)
            if self._attention is not None:
                spec = {**spec, "outputs": [*spec["outputs"], self._attention]}
            cut = halves(engine, spec, self._labels, "Seq2Seq")
            if self._attention is not None and len(cut.after.outputs) != 2:
                raise ValueError(
                    f"Seq2Seq: attention: '{self._attention}' does not depend on the labels so far: it is no attention "
                    "that the decoder pays"
                )
            self._cut = (engine, cut, precision)
            self._decoder = None
        return self._cut[1]

    def encode(self, x: Any, lengths: Any = None, mask: Any = None) -> tuple[dict[str, Any], Any]:
        """What the decoder reads of the sources: arrays by name, and the flags of their steps."""
        cut = self._halves()
        named = self._sources(x, "decode")
        ports = [port for port in self.model._ports()[0] if port.name != self._labels]
        arrays = make_inputs([named[port.name] for port in ports], ports)
        said = [
            None if given is None else self._named(given, what)
            for given, what in ((lengths, "lengths"), (mask, "mask"))
        ]
        marks = make_marks(said[0], said[1], None, arrays, ports).engine if any(said) else None
        found: dict[str, Any] = dict(zip((port.name for port in ports), arrays, strict=True))
        flags: dict[str, Any] = {}
        if marks is not None:
            for k, port in enumerate(ports):
                length, valid = marks.get("lengths", [None] * len(ports))[k], marks.get("masks", [None] * len(ports))[k]
                if length is not None:
                    valid = (np.arange(arrays[k].shape[1]) < length[:, None]) & (True if valid is None else valid != 0)
                flags[port.name] = valid
        if cut.before is not None:
            names = [name for name, _, _ in cut.before.outputs]
            refs = [ref for _, ref in cut.given if ref not in cut.inputs]
            outputs, valid_steps = cut.before.predict(arrays, marks), cut.before.valid_steps(arrays, marks)
            assert len(names) == len(refs)
            found.update(zip(refs, outputs, strict=True))
            flags.update(zip(refs, valid_steps, strict=True))
        given = {name: found[ref] for name, ref in cut.given}
        masks = [flags.get(ref) for _, ref in cut.given]
        if all(m is None for m in masks):
            return given, None
        return given, {"masks": [None if m is None else np.ascontiguousarray(m, np.uint8) for m in masks]}

    def decode(
        self,
        x: Any,
        lengths: Any = None,
        mask: Any = None,
        steps: int = 100,
        beam_width: int = 1,
        top_paths: int = 1,
        length_penalty: float = 0.0,
        coverage_penalty: float = 0.0,
        early_stop: bool = False,
        sample: bool = False,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float = 1.0,
        repetition_penalty: float = 1.0,
        seed: int | None = None,
        prefix: Any = None,
    ) -> tuple[Labels, NDArray[np.float64]]:
        """The labels that the model makes of sources: greedy, by a beam search, or drawn.

        Parameters
        ----------
        x, lengths, mask
            As of :meth:`fit`.
        steps : int
            Labels of a row, at most, the end included.
        beam_width : int
            Sequences that are kept at each step; 1 takes the most probable label each time.
        top_paths : int
            Sequences of each row that are given, at most ``beam_width``.
        length_penalty, coverage_penalty : float
            A sequence of n labels y scores log p(y) / ((5 + n) / 6)^length_penalty plus coverage_penalty times
            Σ_s ln min(paid_s, 1), paid_s the attention paid to step s of the source (Wu et al., arXiv:1609.08144,
            equation 14).
        early_stop : bool
            Whether a row is done when ``beam_width`` of its sequences have ended, and not only when no other can score
            more.
        sample : bool
            Draw labels, as :func:`rekur.generate` does with temperature, top_k, top_p, repetition_penalty and seed.
        prefix : array_like of int, shape (B, P), or a list of rows, optional
            Labels that the sequences begin with; they are not among those returned.

        Returns
        -------
        labels : int32 ndarray of shape (top_paths, B, L)
            Without start and end, -1 behind rows that are shorter.
        scores : float64 ndarray of shape (B, top_paths)
            -inf where a row has no further path.

        Raises
        ------
        ValueError
            For settings out of range, and where the model's outputs are no numbers.
        """
        options: dict[str, Any] = {
            "steps": integer(steps, "decode: steps"),
            "start": self.start,
            "end": -1 if self.end is None else self.end,
            "beam_width": integer(beam_width, "decode: beam_width"),
            "top_paths": integer(top_paths, "decode: top_paths"),
            "length_penalty": not_negative(length_penalty, "decode: length_penalty"),
            "coverage_penalty": not_negative(coverage_penalty, "decode: coverage_penalty"),
            "early_stop": boolean(early_stop, "decode: early_stop"),
        }
        if boolean(sample, "decode: sample"):
            drawn = sampling(temperature, top_k, top_p, repetition_penalty, seed, "decode")
            options |= {"sample": True, **drawn}
        given, masks = self.encode(x, lengths, mask)
        rows = len(next(iter(given.values())))
        prompts: list[Labels] = []
        if prefix is not None:
            prefixes, _ = label_rows(prefix, self._classes, "decode: prefix")
            if len(prefixes) != rows:
                raise ValueError(f"decode: prefix: expected {rows} rows, got {len(prefixes)}")
            prompts = [np.concatenate([[self.start], row]).astype(np.int32) for row in prefixes]
        found = self._search(given, masks, prompts, options) if rows else []
        count = options["top_paths"]
        scores = np.full((rows, count), -np.inf)
        paths: list[list[Labels]] = [[] for _ in range(count)]
        for k, row in enumerate(found):
            for p in range(count):
                there = p < len(row)
                paths[p].append(row[p][0] if there else np.zeros(0, np.int32))
                if there:
                    scores[k, p] = row[p][2]
        longest = max((len(path) for of in paths for path in of), default=0)
        labels = np.full((count, rows, longest), -1, np.int32)
        for p in range(count):
            part = padded(paths[p])
            labels[p, :, : part.shape[1]] = part
        return labels, scores

    def _search(self, given: dict[str, Any], masks: Any, prompts: Sequence[Labels], options: dict[str, Any]) -> Any:
        cut = self._halves()
        attention = 1 if self._attention is not None else -1
        # Packed weights of these are kept as long as one decoder that has them lives.
        decoder = _core.Decoder(cut.after, cut.whole, self._logits, attention)
        self._decoder = decoder
        return decoder.decode([given[name] for name, _, _ in decoder.beginnings], masks, prompts, options)

    # The rest is the model's.

    @property
    def classes(self) -> int:
        return self._classes

    def save(self, filepath: Any, **options: Any) -> None:
        """Write one ``.safetensors`` file, as :meth:`rekur.Model.save` does. rekur.load reads the model alone."""
        self.model._seq2seq = {
            "start": self.start,
            "end": self.end,
            "labels": self._labels,
            "attention": self._attention,
            "from_logits": self._logits,
        }
        self.model.save(filepath, **options)

    @classmethod
    def load(cls, filepath: Any) -> "Seq2Seq":
        """What :meth:`save` has written.

        Raises
        ------
        OSError
            If the file cannot be read.
        ValueError
            If it holds a model without start and end.
        """
        from rekur.models import load_model

        model = load_model(filepath)
        said = model._seq2seq
        if said is None:
            raise ValueError(f"{filepath}: the file's model was not saved by Seq2Seq: it has no start and end label")
        return cls(model, said["start"], said["end"], said["labels"], said["attention"], said["from_logits"])

    def save_halves(self, before: Any, after: Any) -> None:
        """Write the encoder and the decoder as two ``.safetensors`` files, for a program in C++ (rekur/decode.hpp).

        Parameters
        ----------
        before : str or path
            What is computed once: its outputs are what the decoder begins with, in the order of its inputs.
        after : str or path
            What goes step by step.

        Raises
        ------
        ValueError
            If there is nothing that is computed before the first step.
        """
        cut = self._halves()
        if cut.before is None:
            raise ValueError("save_halves: all of the model depends on the labels so far; there is no encoder")
        if os.path.abspath(check_suffix(before, "save_halves")) == os.path.abspath(check_suffix(after, "save_halves")):
            raise ValueError(f"save_halves: two files are written, and both are to be {os.fspath(before)}")
        for path, core in ((before, cut.before), (after, cut.after)):
            core.save(os.fsencode(check_suffix(path, "save_halves")))
