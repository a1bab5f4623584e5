"""What a fitted detector says of itself."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rekur.tasks.anomalies._detector import AnomalyDetector


def lines(detector: "AnomalyDetector") -> list[str]:
    """Data, method, network, threshold: sentences and numbers."""
    design, tail = detector.design_, detector.tail_
    steps = detector.steps_
    model = detector.models_[0]
    names = getattr(detector, "feature_names_in_", None)
    channels = f"{detector.n_features_in_} channel{'s' if detector.n_features_in_ > 1 else ''}"
    if names is not None:
        channels += f" ({', '.join(map(str, names[:6]))}{', …' if len(names) > 6 else ''})"
    series = f"{steps[0]:,} steps" if len(steps) == 1 else f"{len(steps)} series, {sum(steps):,} steps"
    rows = [
        ("training data", f"{series} of {channels}"),
        ("method", " and ".join(design["methods"]) + f"; window {design['window']}, smoothing {design['smoothing']}"),
    ]
    if "forecast" in design["methods"]:
        season = f", season {design['season']}" if design["season"] else ""
        rows.append(("forecast", f"{design['horizon']} step{'s' if design['horizon'] > 1 else ''} ahead{season}"))
    rows.append(("model", f"{model.count_params():,} numbers in {len(model.layers)} layers"))
    for history in detector.history_:
        loss = history.get("val_loss") or history["loss"]
        name = "val_loss" if "val_loss" in history else "loss"
        rows.append(("training", f"{len(loss)} epochs, {name} {loss[0]:.4g} → {loss[-1]:.4g}"))
    fitted = f"shape {tail['shape']:.2f}, scale {tail['scale']:.3g}"
    rows.append(("tail", f"{tail['count']} peaks above {tail['level']:.3g}: {fitted}"))
    how = (
        f"one false alarm in {1 / detector.false_alarms_:,.0f} steps wished"
        if detector.contamination is None
        else f"{detector.contamination:.1%} of the training data's steps exceed it"
    )
    rows.append(("threshold", f"{detector.threshold_:.3g}; {how}; highest in training {tail['highest']:.3g}"))
    width = max(len(name) for name, _ in rows)
    return ["AnomalyDetector", *(f"  {name:<{width}}  {text}" for name, text in rows), *detector.notes_]
