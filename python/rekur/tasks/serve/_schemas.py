"""The JSON that goes in and out, as pydantic models.

JSON has no NaN: ``null`` is a missing value, in both directions.
"""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Discriminator, FailFast, Field, StrictBool, StrictInt, StrictStr, Tag


class _First(FailFast):
    """Of a million wrong numbers the first is told, not all. (pydantic's own cannot be hashed, as unions ask.)"""

    __hash__ = object.__hash__


FIRST = _First()
Finite: TypeAlias = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Number: TypeAlias = Annotated[Finite | None, Field(description="A number; null is a missing value")]
Cell: TypeAlias = StrictBool | StrictInt | Finite | StrictStr | None


def _form(value: Any) -> str:
    if value is None:
        return "<nothing>"
    if isinstance(value, dict):
        return "<table>"
    return "<rows>" if isinstance(value, list) and value and isinstance(value[0], list) else "<flat>"


Flat: TypeAlias = Annotated[list[Number], FIRST]
Rows: TypeAlias = Annotated[list[Flat], FIRST]
Series: TypeAlias = Annotated[
    Annotated[Flat, Tag("<flat>")] | Annotated[Rows, Tag("<rows>")],
    Discriminator(_form),
    Field(description="Steps of one channel, or a list of the channels' values for each step"),
]
Columns: TypeAlias = Annotated[
    dict[str, Annotated[list[Cell], FIRST]],
    Field(description="A table: its columns by name, all of the same length. Times are texts in ISO 8601"),
]
Data: TypeAlias = Annotated[
    Annotated[Columns, Tag("<table>")]
    | Annotated[Flat, Tag("<flat>")]
    | Annotated[Rows, Tag("<rows>")]
    | Annotated[None, Tag("<nothing>")],
    Discriminator(_form),
]


class Model(BaseModel):
    """Of ours: unknown fields are errors."""

    model_config = ConfigDict(extra="forbid")


class ForecastRequest(Model):
    data: Data = Field(None, description="Up to the step to forecast from; null: from the end of the training data")
    future: Columns | None = Field(None, description="Covariates known ahead of the steps to come")
    quantiles: Annotated[list[Annotated[Finite, Field(gt=0, lt=1)]], Field(max_length=99)] | None = Field(
        None, description="Levels of the quantiles; null: those of the model"
    )


class ForecastResponse(Model):
    columns: dict[str, list[Cell]] = Field(
        description="Forecasts by step: time, targets, and a column a quantile, as “load 0.1”"
    )
    targets: list[str]
    quantiles: list[float]


class SequencesRequest(Model):
    sequences: Annotated[list[Series], FIRST] = Field(min_length=1, description="One or several sequences")


class Labels(Model):
    labels: list[Cell] | list[list[Cell]] = Field(
        description="The most probable class of each; all that are likely, where one may have several"
    )
    classes: list[Cell] = Field(description="All classes, in the order of the probabilities")
    probabilities: list[list[float | None]] | None = Field(description="Of each class, a list for each answer")


class Numbers(Model):
    values: list[float | None] | list[list[float | None]] = Field(description="The answer for each sequence")


class TokensRequest(Model):
    sequences: Annotated[list[Annotated[list[StrictStr], FIRST]], FIRST] = Field(
        min_length=1, description="One or several sequences of tokens"
    )


class Tags(Model):
    tags: list[list[Cell]] = Field(description="A label for each step of each sequence")
    classes: list[Cell] = Field(description="All labels")


class SeriesRequest(Model):
    series: Series
    threshold: Finite | None = Field(None, description="Scores above it are alarms; null: the model's")


class Stretch(Model):
    start: int = Field(description="The first step")
    end: int = Field(description="One past the last step")
    score: float | None = Field(description="The highest in it")


class Scores(Model):
    scores: list[float | None] = Field(description="Of each step; null where too little came before")
    alarms: list[bool]
    threshold: float
    stretches: list[Stretch]


class TextsRequest(Model):
    texts: Annotated[list[StrictStr], FIRST] = Field(min_length=1)


class Texts(Model):
    texts: list[str]


class Writing(Model):
    """How a text is written."""

    prompt: StrictStr = Field("", description="What comes first")
    temperature: Finite = Field(0.7, ge=0, le=10, description="0: always the most probable; higher: bolder")
    top_k: Annotated[StrictInt, Field(ge=1)] | None = None
    top_p: Finite = Field(1.0, gt=0, le=1)
    repetition_penalty: Finite = Field(1.0, gt=0, le=10)
    seed: Annotated[StrictInt, Field(ge=0, lt=2**31)] | None = Field(None, description="The same seed, the same text")


class WritingRequest(Writing):
    length: StrictInt = Field(200, ge=1, description="Tokens at most")


class Written(Model):
    text: str = Field(description="Without the prompt")


# Streams.


class Nothing(Model):
    """An empty object."""


class PushSteps(Model):
    values: Series = Field(description="The next steps")


class PushRows(Model):
    rows: Columns = Field(
        description="The next rows of the table, or of a column “values” where the model has no names"
    )


class PushLength(Model):
    length: StrictInt = Field(1, ge=1, description="So many tokens more")


class BeginForecast(Model):
    data: Data = Field(None, description="What is known at the beginning")


class More(Model):
    text: str
    ended: bool = Field(description="Whether the text has come to its end")


class StepLabels(Model):
    labels: list[Cell] = Field(description="After each step")
    probabilities: list[list[float | None]]


class StepNumbers(Model):
    values: list[list[float | None]] = Field(description="The answer after each step")


class StepScores(Model):
    scores: list[float | None]
    alarms: list[bool]


class Opened(Model):
    id: str
    idle: float = Field(description="Seconds without a request after which it is closed")
    steps: str = Field(description="Where its steps are to be sent")


class Health(Model):
    status: Literal["ok"] = "ok"
    model: str
    streams: int = Field(description="Open now")
    uptime: float = Field(description="Seconds")
