"""Anomalies of time series: the detector, thresholds by extreme value theory, measures."""

from rekur.tasks.anomalies._alarms import Alarm as Alarm
from rekur.tasks.anomalies._detector import AnomalyDetector as AnomalyDetector
from rekur.tasks.anomalies._measures import range_precision_recall, vus_pr, vus_roc
from rekur.tasks.anomalies._stream import DetectorStream as DetectorStream
from rekur.tasks.anomalies._stream import Verdict as Verdict
from rekur.tasks.anomalies._tail import fit_pareto

__all__ = [
    "Alarm",
    "AnomalyDetector",
    "DetectorStream",
    "Verdict",
    "fit_pareto",
    "range_precision_recall",
    "vus_pr",
    "vus_roc",
]
