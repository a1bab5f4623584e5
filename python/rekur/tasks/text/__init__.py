"""Estimators of texts: one that writes, one that tells classes apart, one that translates."""

from rekur.tasks.text._translating import Alignment, Translation
from rekur.tasks.text.classifier import TextClassifier
from rekur.tasks.text.generator import TextGenerator
from rekur.tasks.text.translator import Translator

__all__ = ["Alignment", "TextClassifier", "TextGenerator", "Translation", "Translator"]
