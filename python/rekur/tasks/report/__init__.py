"""Pictures of what estimators did, and reports of one file to hand on.

    figure = plot_forecast(forecast, history=load, quantiles={0.1: low, 0.9: high}, times=times)
    figure.savefig("forecast.png")

    report = Report("Load of the next day", [Section("Scores", [Table(["model", "MAE"], [["ours", 1.2]])])])
    report.write("report.html")

Pictures are drawn by matplotlib into a new figure, or into one that is given. In a :class:`Report` they are SVG whose
colours follow the page's theme, light or dark; the page asks for nothing from outside and runs no script.
"""

import importlib
from typing import TYPE_CHECKING, Any

from rekur._own import no_attribute

if TYPE_CHECKING:
    from rekur.tasks.report._anomaly import plot_anomalies, plot_tail
    from rekur.tasks.report._anomaly_report import anomaly_report
    from rekur.tasks.report._calibration import plot_coverage, plot_pit, plot_reliability
    from rekur.tasks.report._card import Card, card_of
    from rekur.tasks.report._class_report import classification_report, regression_report
    from rekur.tasks.report._classes import plot_agreement, plot_class_scores, plot_confusion, plot_sequences
    from rekur.tasks.report._content import (
        Bullets,
        Code,
        Facts,
        Figures,
        Folded,
        Marked,
        Picture,
        Remark,
        Report,
        Section,
        Side,
        Table,
    )
    from rekur.tasks.report._forecast_report import best_median_worst, forecast_report
    from rekur.tasks.report._forecasts import Fold, Window, plot_error_by_step, plot_forecast, plot_split, plot_windows
    from rekur.tasks.report._text_report import text_levels, text_report, translation_report
    from rekur.tasks.report._training import plot_attention, plot_bits, plot_surprise, plot_training

# Where each name stands; imported when first used.
_PLACES = {
    "Bullets": "_content",
    "Card": "_card",
    "Code": "_content",
    "Facts": "_content",
    "Figures": "_content",
    "Folded": "_content",
    "Marked": "_content",
    "Picture": "_content",
    "Remark": "_content",
    "Report": "_content",
    "Section": "_content",
    "Side": "_content",
    "Table": "_content",
    "Fold": "_forecasts",
    "Window": "_forecasts",
    "anomaly_report": "_anomaly_report",
    "best_median_worst": "_forecast_report",
    "card_of": "_card",
    "classification_report": "_class_report",
    "forecast_report": "_forecast_report",
    "plot_agreement": "_classes",
    "plot_anomalies": "_anomaly",
    "plot_attention": "_training",
    "plot_bits": "_training",
    "plot_class_scores": "_classes",
    "plot_confusion": "_classes",
    "plot_coverage": "_calibration",
    "plot_error_by_step": "_forecasts",
    "plot_forecast": "_forecasts",
    "plot_pit": "_calibration",
    "plot_reliability": "_calibration",
    "plot_sequences": "_classes",
    "plot_split": "_forecasts",
    "plot_surprise": "_training",
    "plot_tail": "_anomaly",
    "plot_training": "_training",
    "plot_windows": "_forecasts",
    "regression_report": "_class_report",
    "text_levels": "_text_report",
    "text_report": "_text_report",
    "translation_report": "_text_report",
}

__all__ = [
    "Bullets",
    "Card",
    "Code",
    "Facts",
    "Figures",
    "Fold",
    "Folded",
    "Marked",
    "Picture",
    "Remark",
    "Report",
    "Section",
    "Side",
    "Table",
    "Window",
    "anomaly_report",
    "best_median_worst",
    "card_of",
    "classification_report",
    "forecast_report",
    "plot_agreement",
    "plot_anomalies",
    "plot_attention",
    "plot_bits",
    "plot_class_scores",
    "plot_confusion",
    "plot_coverage",
    "plot_error_by_step",
    "plot_forecast",
    "plot_pit",
    "plot_reliability",
    "plot_sequences",
    "plot_split",
    "plot_surprise",
    "plot_tail",
    "plot_training",
    "plot_windows",
    "regression_report",
    "text_levels",
    "text_report",
    "translation_report",
]


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(importlib.import_module(f"rekur.tasks.report.{_PLACES[name]}"), name)
    no_attribute(__name__, "picture", name)


def __dir__() -> list[str]:
    return __all__
