"""TensorBoard: event files that the program of that name shows."""

import os
import time
from typing import Any, NoReturn

import numpy as np

from rekur._own import check_options
from rekur._settings import Setting
from rekur._validate import Floats, as_path, boolean, integer
from rekur.callbacks.base import Callback, Logs


def _update(value: object, what: str) -> str | int:
    if value == "epoch":
        return "epoch"
    if value == "batch":
        return 1
    if isinstance(value, str):
        raise ValueError(f"{what} must be 'batch', 'epoch' or a number of batches, got {value!r}")
    return integer(value, what)


def _count(value: object, what: str) -> int:
    return integer(value, what, 0)


def _writer(folder: str) -> Any:
    try:
        from tensorboardX import SummaryWriter  # an extra: it needs protobuf
    except ImportError:
        raise ImportError(
            "TensorBoard needs a package to write its files with: pip install 'rekur[tensorboard]' (tensorboardX)"
        ) from None
    return SummaryWriter(folder)


class TensorBoard(Callback):
    """Write event files for TensorBoard: ``tensorboard --logdir=logs`` shows them.

    They are written by the package tensorboardX (``pip install 'rekur[tensorboard]'``), imported when a call begins.
    Folders and names are Keras's: ``train`` and ``validation``, ``epoch_loss``, ``batch_loss``,
    ``evaluation_loss_vs_iterations``, ``LAYER/KERNEL/histogram``.

    Parameters
    ----------
    log_dir : str or path
    histogram_freq : int
        Histograms of all weights every so many epochs; 0: none.
    write_graph : bool
        Write the model's summary, as text.
    write_images : bool
        Write weights as images, too, where histograms are written.
    write_steps_per_second : bool
    update_freq : "epoch", "batch" or int
        "batch" or a number: write the logs of batches as well, every so many.
    embeddings_freq : int
        Tables of Embedding layers for the projector every so many epochs; 0: none.

    Raises
    ------
    ImportError
        From fit or evaluate, without tensorboardX.
    """

    _only_writes = True

    log_dir = Setting(as_path)
    histogram_freq = Setting(_count)
    write_graph = Setting(boolean)
    write_images = Setting(boolean)
    write_steps_per_second = Setting(boolean)
    update_freq = Setting(_update)
    embeddings_freq = Setting(_count)

    def __init__(
        self,
        log_dir: str | os.PathLike[str] = "logs",
        histogram_freq: int = 0,
        write_graph: bool = True,
        write_images: bool = False,
        write_steps_per_second: bool = False,
        update_freq: str | int = "epoch",
        embeddings_freq: int = 0,
        **options: NoReturn,
    ) -> None:
        check_options("callback", type(self), options)
        self.log_dir = log_dir
        self.histogram_freq = histogram_freq
        self.write_graph = write_graph
        self.write_images = write_images
        self.write_steps_per_second = write_steps_per_second
        self.update_freq = update_freq
        self.embeddings_freq = embeddings_freq
        self._writers: dict[str, Any] = {}
        self._in_fit = False
        self._batch = self._first = 0
        self._begun = self._batch_begun = 0.0

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_writers": {}}

    def _to(self, name: str) -> Any:
        if name not in self._writers:
            self._writers[name] = _writer(os.path.join(self.log_dir, name))
        return self._writers[name]

    def _close(self) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._in_fit, self._batch = True, 0
        train = self._to("train")
        if self.write_graph:
            lines: list[str] = []
            self.model.summary(print_fn=lines.append)
            train.add_text("model", "".join(f"    {line}\n" for text in lines for line in text.splitlines()), 0)

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._in_fit = False
        self._close()

    def on_test_end(self, logs: Logs | None = None) -> None:
        steps = self.model._trainer().trainer.iterations
        for name, value in (logs or {}).items():
            self._to("validation").add_scalar(f"evaluation_{name}_vs_iterations", value, steps)
        if not self._in_fit:
            self._close()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._begun, self._first = time.monotonic(), self.model._trainer().trainer.iterations

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self._batch_begun = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._batch += 1
        if isinstance(self.update_freq, str) or self._batch % self.update_freq:
            return
        found = dict(logs or {})
        if self.write_steps_per_second:
            found["steps_per_second"] = 1 / max(time.monotonic() - self._batch_begun, 1e-9)
        for name, value in found.items():
            self._to("train").add_scalar(f"batch_{name}", value, self._batch)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        found = {"learning_rate": self.model.optimizer.learning_rate, **(logs or {})}
        if self.write_steps_per_second:
            steps = self.model._trainer().trainer.iterations - self._first
            found["steps_per_second"] = steps / max(time.monotonic() - self._begun, 1e-9)
        for name, value in found.items():
            where = "validation" if name.startswith("val_") else "train"
            self._to(where).add_scalar(f"epoch_{name.removeprefix('val_')}", value, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            self._write_weights(epoch)
        if self.embeddings_freq and epoch % self.embeddings_freq == 0:
            for name, weight in self.model.named_weights().items():
                if name.endswith("/embeddings"):
                    self._to("train").add_embedding(weight, tag=name.replace("/", "_"), global_step=epoch)
        for writer in self._writers.values():
            writer.flush()

    def _write_weights(self, epoch: int) -> None:
        for name, weight in self.model.named_weights().items():
            self._to("train").add_histogram(f"{name}/histogram", weight, epoch)
            image = _image(weight) if self.write_images else None
            if image is not None:
                self._to("train").add_image(f"{name}/image", image, epoch, dataformats="HW")


def _image(weight: Floats) -> Floats | None:
    """A weight as a picture, wider than high, from 0 to 1; None for one of more than two axes."""
    array = np.atleast_2d(np.squeeze(weight))
    if array.ndim > 2:
        return None
    if array.shape[0] > array.shape[1]:
        array = array.T
    low, high = float(array.min()), float(array.max())
    return ((array - low) / (high - low or 1)).astype(np.float32)
