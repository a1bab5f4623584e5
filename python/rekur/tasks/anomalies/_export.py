"""A detector as a file for other programs: ONNX, C++ with the library, C++ without anything."""

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import rekur
from rekur import layers, ops
from rekur._files import check_writable, write_atomic
from rekur._validate import check_suffix
from rekur.models import Model

if TYPE_CHECKING:
    from rekur.tasks.anomalies._detector import AnomalyDetector

# Distances are differences of squares, which another order of summing moves in their last digits.
_TOLERANCE = 1e-3
_STEPS = 200


def deployed(detector: "AnomalyDetector") -> Model:
    """Raw values to ``score``, ``alarm`` (1 or 0: the threshold is part of it) and ``contributions``."""
    model = detector.models_[0]
    limit = detector.threshold_
    score, contributions = model.outputs
    alarm = layers.Lambda(lambda s: ops.where(s > limit, 1.0, 0.0), name="alarm")(score)
    return Model(model.inputs, [score, alarm, contributions], name="anomaly_detector")


def onnx(detector: "AnomalyDetector", path: str | os.PathLike[str], options: dict[str, Any]) -> Any:
    """Export, compare with the detector in onnxruntime, and only then write."""
    import rekur.onnx  # an extra

    target = check_suffix(path, "export_onnx", (".onnx",))
    check_writable(target)
    with tempfile.TemporaryDirectory() as folder:
        first = Path(folder) / "detector.onnx"
        # What rekur.onnx itself tries files with is nothing like a detector's data: it is tried below.
        report = rekur.onnx.export(deployed(detector), first, verify=False, **options)
        content = first.read_bytes()
        _verify(detector, first, content, options)
    write_atomic(target, content)
    report.path = Path(target)
    return report


def examples(detector: "AnomalyDetector") -> NDArray[np.float32]:
    """Two series (2, T, F) like the training data, with what is unlike them, and missing values, in the second."""
    rng = np.random.default_rng(0)
    channels = detector.n_features_in_
    walk = np.cumsum(rng.normal(size=(2, _STEPS, channels)), axis=1) / 5 + rng.normal(size=(2, _STEPS, channels)) / 5
    walk[1, 60] += 6
    walk[1, 100:120] = np.nan
    return np.asarray(detector.mean_ + detector.deviation_ * walk, np.float32)


def _verify(detector: "AnomalyDetector", file: Path, content: bytes, options: dict[str, Any]) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    x = examples(detector)
    if options.get("streaming") or options.get("states"):
        states: Any = rekur.onnx.metadata(file).states
        found = states.run(session, {"values": x})
        names = [value.name for value in session.get_outputs()][: len(found)]
        arrays = found if isinstance(found, dict) else dict(zip(names, found, strict=True))
    else:
        names = [value.name for value in session.get_outputs()]
        arrays = dict(zip(names, session.run(None, {"values": x}), strict=True))
    score, contributions = (np.asarray(part) for part in detector.models_[0].predict(x, verbose=0))
    for name, wanted in (("score", score), ("contributions", contributions)):
        scale = np.maximum(np.abs(wanted), 1.0)
        off = float((np.abs(arrays[name] - wanted) / scale).max())
        if not off <= _TOLERANCE:
            raise RuntimeError(
                f"export_onnx: '{name}' in onnxruntime differs from the detector's by {off:.1e}, more than "
                f"{_TOLERANCE:.0e}: nothing was written; please report it"
            )
    clear = np.abs(score - detector.threshold_) > _TOLERANCE * np.maximum(np.abs(score), 1.0)
    if ((arrays["alarm"] > 0.5) != (score > detector.threshold_))[clear].any():
        raise RuntimeError("export_onnx: onnxruntime gives other alarms than the detector: nothing was written")
