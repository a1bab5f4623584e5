"""Errors as problem details (RFC 9457): what is wrong, and with which field."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

TYPE = "application/problem+json"
_TITLES = {
    400: "The request cannot be read",
    403: "Not from here",
    404: "There is no such thing",
    405: "Not in this way",
    408: "The request did not come in time",
    413: "The request is too large",
    415: "Not JSON",
    421: "Another host was meant",
    422: "The request does not fit the model",
    429: "Too many streams",
    500: "The service failed",
    503: "Too many requests",
    504: "The answer took too long",
}


class Problem(Exception):
    """Raised anywhere in a request, it becomes its answer."""

    def __init__(
        self, status: int, detail: str, *, field: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})
        self.errors = [] if field is None else [{"pointer": pointer(field.split("/")), "detail": detail}]

    def body(self) -> dict[str, Any]:
        return body(self.status, self.detail, self.errors)


def body(status: int, detail: str, errors: Sequence[Mapping[str, str]] = ()) -> dict[str, Any]:
    """The JSON of a problem; ``errors`` are (pointer, detail) of fields."""
    found: dict[str, Any] = {
        "type": "about:blank",
        "title": _TITLES.get(status, "Error"),
        "status": status,
        "detail": detail,
    }
    if errors:
        found["errors"] = [dict(error) for error in errors]
    return found


def encoded(status: int, detail: str, errors: Sequence[Mapping[str, str]] = ()) -> bytes:
    return json.dumps(body(status, detail, errors)).encode()


def pointer(path: Sequence[Any]) -> str:
    """A JSON pointer (RFC 6901) to a field."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1")[:80] for part in path)


# What pydantic puts into paths for the branches of a union.
_BRANCHES = {"<flat>", "<rows>", "<table>", "<nothing>"}


def of_validation(errors: Sequence[Mapping[str, Any]]) -> tuple[int, str, list[dict[str, str]]]:
    """Status, detail and fields of pydantic's errors, the first ten of them."""
    found: list[dict[str, str]] = []
    for error in list(errors)[:10]:
        path = [part for part in error.get("loc", ()) if part not in _BRANCHES]
        if len(path) > 1 and _is_type(path[-1]) and (isinstance(path[-2], int) or path[-1] == "[key]"):
            del path[-1]  # of a cell, which is in a list: a column may have a type's name
        if error.get("type") == "json_invalid":
            return 400, f"The body is no JSON: {error.get('ctx', {}).get('error', error.get('msg', ''))}"[:300], []
        found.append({"pointer": pointer(path), "detail": _told(error)[:300]})
    unique = [dict(pair) for pair in dict.fromkeys(tuple(error.items()) for error in found)]
    first = unique[0] if unique else {"pointer": "", "detail": "not valid"}
    where = first["pointer"] or "the body"
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return 422, f"{where}: {first['detail']}{more}", unique


_WORDS = {
    "extra_forbidden": "there is no such field",
    "missing": "is missing",
    "float_type": "expected a number",
    "int_type": "expected a whole number",
    "string_type": "expected a text",
    "bool_type": "expected true or false",
    "list_type": "expected a list",
    "dict_type": "expected an object",
    "model_type": "expected an object",
    "model_attributes_type": "expected an object",
    "finite_number": "expected a finite number",
    "string_unicode": "half of a character (a lone surrogate)",
}


def _told(error: Mapping[str, Any]) -> str:
    """One of pydantic's errors in plain words, with what came."""
    kind = str(error.get("type", ""))
    text = _WORDS.get(kind)
    if text is None:
        return str(error.get("msg", "not valid")).replace("Input should", "it should")
    if "expected" in text and "input" in error:
        text += f", not {_kind_of(error['input'])}"
    return text


def _kind_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    names = {str: "a text", int: "a whole number", float: "such a number", list: "a list", dict: "an object"}
    return names.get(type(value), "that")


def _is_type(part: Any) -> bool:
    """Whether a part of a path is pydantic's name of a type rather than a field."""
    return isinstance(part, str) and (part in ("float", "int", "str", "bool", "none") or "[" in part)
