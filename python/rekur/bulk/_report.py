"""What a run did, and the error of one that could not do all of it."""

from dataclasses import dataclass, field
from pathlib import Path

from rekur.tasks._words import counted


@dataclass(frozen=True)
class Report:
    """What stands in the folder after a run.

    ``rows_in`` are the rows of the data set that have been answered, ``rows_out`` the rows of all parts, ``untold``
    those (or, where rows are steps, the sequences or series) that have nulls because nothing could be told of them.
    ``parts`` are the parts that the plan has, ``written`` those of this run, ``missing`` those that another shard or
    process is to write. ``complete``: all are there, and every row was counted once; ``_SUCCESS`` says so, too.
    """

    folder: Path
    rows_in: int
    rows_out: int
    untold: int
    files: int
    parts: int
    written: int
    missing: int
    seconds: float
    notes: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return self.missing == 0

    def __str__(self) -> str:
        lines = [
            f"{counted(self.rows_in, 'row')} of {counted(self.files, 'file')} read, "
            f"{counted(self.rows_out, 'row')} written to {self.folder}: {counted(self.parts, 'part')}, "
            f"{self.written} of them in this run ({self.seconds:.1f} s)"
        ]
        if self.untold:
            lines.append(f"nulls stand for {self.untold:,} of which nothing can be told")
        if self.missing:
            be = "is" if self.missing == 1 else "are"
            lines.append(f"{counted(self.missing, 'part')} {be} left to other shards or to another run")
        return "\n".join([*lines, *self.notes])


class Unfinished(ValueError):
    """Some parts could not be made; the others are there, and another run makes what is missing.

    Attributes
    ----------
    failures : dict of str to str
        The reason by part.
    report : Report
    """

    def __init__(self, failures: dict[str, str], report: Report) -> None:
        self.failures, self.report = failures, report
        reasons = list(dict.fromkeys(failures.values()))
        shown = "\n".join(f"- {reason}" for reason in reasons[:8])
        more = f"\n- … and {len(reasons) - 8} more" if len(reasons) > 8 else ""
        super().__init__(
            f"{counted(len(failures), 'part')} of {report.parts} could not be made:\n{shown}{more}\n"
            "The other parts are kept: the same command goes on with what is missing, once that is mended"
        )
