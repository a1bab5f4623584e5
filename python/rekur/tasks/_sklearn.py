"""What estimators share with scikit-learn where it is installed, which is imported for its own callers alone."""

import sys
from typing import Any


class NotFittedError(ValueError, AttributeError):
    """An estimator is asked for what it has not learned yet; scikit-learn's class of this name catches it, too."""


def not_fitted_error(message: str) -> Exception:
    """The error to raise: of both classes where scikit-learn is loaded."""
    theirs = getattr(sys.modules.get("sklearn.exceptions"), "NotFittedError", None)
    if theirs is None:
        return NotFittedError(message)
    global _joint
    if _joint is None or not issubclass(_joint, theirs):
        _joint = type("NotFittedError", (NotFittedError, theirs), {"__module__": __name__})
    made: Exception = _joint(message)
    return made


_joint: Any = None


def conversion_warning() -> type[Warning]:
    """The category of a warning that data were taken in another form than they came in."""
    return getattr(sys.modules.get("sklearn.exceptions"), "DataConversionWarning", UserWarning)


def tags(kind: str | None, **inputs: Any) -> Any:
    """scikit-learn's tags of an estimator, called by scikit-learn alone.

    Parameters
    ----------
    kind : "classifier", "regressor", "outlier_detector" or None
    **inputs
        Fields of ``InputTags``.
    """
    from sklearn.utils import ClassifierTags, InputTags, RegressorTags, Tags, TargetTags

    supervised = kind in ("classifier", "regressor")
    return Tags(
        estimator_type=kind,
        target_tags=TargetTags(required=supervised),
        transformer_tags=None,
        classifier_tags=ClassifierTags() if kind == "classifier" else None,
        regressor_tags=RegressorTags() if kind == "regressor" else None,
        input_tags=InputTags(**inputs),
    )
