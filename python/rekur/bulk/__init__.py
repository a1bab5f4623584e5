"""A model's answers for data sets larger than memory: Parquet and Arrow files in, Parquet files out.

:func:`predict` reads row groups in batches, writes a part for each few of them, and begins where an earlier run ended.
``pip install "rekur[bulk]"`` has what it needs (pyarrow).
"""

from rekur.bulk._report import Report, Unfinished
from rekur.bulk._run import predict

__all__ = ["Report", "Unfinished", "predict"]
