"""Everything that writes a file writes it in one way: whole, through links, and never over what is no plain file."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import rekur
from rekur.callbacks import CSVLogger, ModelCheckpoint
from rekur.layers import LSTM, Dense


def _model() -> rekur.Sequential:
    model = rekur.Sequential([LSTM(3, input_shape=(4, 2)), Dense(1)], seed=1)
    model.compile(loss="mse")
    return model


@functools.cache
def _onnx_file() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        _export(Path(folder) / "model.onnx")
        return (Path(folder) / "model.onnx").read_bytes()


def _quantize(path: Path) -> None:
    pytest.importorskip("onnxruntime")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "float.onnx"
        source.write_bytes(_onnx_file())
        rekur.onnx.quantize(source, path, seconds=0)


def _export(path: Path) -> None:
    pytest.importorskip("onnx")
    rekur.onnx.export(_model(), path, verify=False)


def _checkpoint(path: Path) -> None:
    callback = ModelCheckpoint(path)
    callback.set_model(_model())
    callback.on_epoch_end(0, {})


WRITERS: dict[str, Callable[[Path], object]] = {
    "save": lambda path: _model().save(path),
    "save_weights": lambda path: _model().save_weights(path),
    "checkpoint": _checkpoint,
    "export_cpp": lambda path: rekur.export_cpp(_model(), path, namespace="m"),
    "onnx_export": _export,
    "onnx_quantize": _quantize,
}
writers = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS.keys())


OTHERS = {
    ".safetensors": "model.save", ".onnx": "rekur.onnx.export", ".hpp": "rekur.export_cpp", ".h5": "Keras",
    ".ort": "ONNX", ".keras": "Keras", ".pt": "PyTorch", ".tflite": "TensorFlow", ".npz": "numpy.savez",
    ".json": "model.spec",
}  # fmt: skip


@writers
@pytest.mark.parametrize("suffix", OTHERS)
def test_nothing_is_written_under_the_name_of_another_format(
    tmp_path: Path, write: Callable[[Path], object], suffix: str
) -> None:
    kind = {_export: ".onnx", _quantize: ".onnx", WRITERS["export_cpp"]: ".hpp"}.get(write, ".safetensors")  # type: ignore[call-overload]
    path = tmp_path / f"m{suffix}"
    path.write_text("theirs")
    if suffix == kind:
        write(path)
        assert path.read_bytes() != b"theirs"
        return
    with pytest.raises(ValueError, match=f"{re.escape(str(path))}.*; .*{OTHERS[suffix]}"):
        write(path)
    assert path.read_text() == "theirs"


PATHS: dict[str, Callable[[Any], object]] = {
    **WRITERS,
    "load": rekur.load,
    "load_weights": lambda path: _model().load_weights(path),
    "onnx_load": lambda path: rekur.onnx.load(path),
    "metadata": lambda path: rekur.onnx.metadata(path),
    "verify": lambda path: rekur.onnx.verify(_model(), path),
    "csv": CSVLogger,
}


@pytest.mark.parametrize("call", PATHS.values(), ids=PATHS.keys())
def test_what_is_no_path_is_refused_by_the_name_of_the_argument(call: Callable[[Any], object]) -> None:
    for wrong in (3, None, ["m"]):
        with pytest.raises(TypeError, match=r"^[\w: ]+: expected a path, got"):
            call(wrong)
    with pytest.raises(ValueError, match=r": no path holds a null character, got 'a\\x00b'"):
        call("a\0b")


@writers
def test_a_symbolic_link_stays_and_what_it_points_at_is_written(
    tmp_path: Path, write: Callable[[Path], object]
) -> None:
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "model", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to("there/model")
    write(link)
    assert link.is_symlink()
    assert len(target.read_bytes()) > 100
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["link", "model", "there"]


@writers
def test_permissions_stay_and_those_of_a_new_file_follow_the_umask(
    tmp_path: Path, write: Callable[[Path], object]
) -> None:
    path = tmp_path / "model"
    old = os.umask(0o027)
    try:
        write(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o604)
        write(path)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


@writers
def test_a_pipe_a_device_and_a_folder_are_refused_and_stay(tmp_path: Path, write: Callable[[Path], object]) -> None:
    pipe, folder = tmp_path / "pipe", tmp_path / "folder"
    os.mkfifo(pipe)
    folder.mkdir()
    device = tmp_path / "device"
    device.symlink_to("/dev/null")
    for path in (pipe, device):
        with pytest.raises(OSError, match="not a regular file"):
            write(path)
    with pytest.raises(IsADirectoryError, match=f"cannot write '{folder}': Is a directory"):
        write(folder)
    if write is not _checkpoint:  # which makes folders
        with pytest.raises(FileNotFoundError) as caught:
            write(tmp_path / "none" / "model")
        assert caught.value.errno == 2
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["device", "folder", "pipe"]


@pytest.fixture
def onnx_file() -> None:
    """Made before the disk is full."""
    if importlib.util.find_spec("onnx"):
        _onnx_file()


@contextlib.contextmanager
def _not_root() -> Iterator[None]:
    """Root may write anywhere."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


@writers
def test_a_file_protected_from_writing_is_refused(write: Callable[[Path], object]) -> None:
    with _not_root(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        path.write_bytes(b"old")
        path.chmod(0o444)
        with pytest.raises(PermissionError, match=f"cannot write '{path}': Permission denied"):
            write(path)
        assert path.read_bytes() == b"old"


@writers
@pytest.mark.usefixtures("onnx_file", "full_disk")
def test_on_a_full_disk_the_old_file_stays(tmp_path: Path, write: Callable[[Path], object]) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match=f"cannot write '{path}': File too large"):
        write(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@writers
def test_names_need_not_be_utf8(tmp_path: Path, write: Callable[[Path], object]) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/m\xff.out"))
    write(path)
    assert path.stat().st_size > 100
    if write is not _checkpoint:  # which makes folders
        with pytest.raises(FileNotFoundError, match="m\udcff"):
            write(path.parent / "none" / path.name)


def test_what_a_killed_save_left_is_removed_by_the_next(tmp_path: Path) -> None:
    script = """
import resource, signal, sys
import rekur
model = rekur.Sequential([rekur.layers.Dense(100, input_shape=(100,))])
model.count_params()
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
model.save(sys.argv[1])
"""
    path = tmp_path / "model.safetensors"
    _model().save(path)
    before = path.read_bytes()
    killed = subprocess.run([sys.executable, "-c", script, str(path)], timeout=60)
    assert killed.returncode == -signal.SIGXFSZ
    assert path.read_bytes() == before
    (left,) = (p.name for p in tmp_path.iterdir() if p != path)
    assert left.startswith(".model.safetensors.rekur-")
    _model().save(tmp_path / "other.safetensors")
    assert (tmp_path / left).exists()
    _model().save(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.safetensors", "other.safetensors"]
