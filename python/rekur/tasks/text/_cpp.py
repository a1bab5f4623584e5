"""A generator of texts as a C++ header: the network, and its tokens."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rekur
from rekur._files import check_writable, write_atomic
from rekur._validate import as_path

if TYPE_CHECKING:
    from rekur.tasks.text.generator import TextGenerator

_TOKENS = """\
// What is written for each label: 0 is a text's beginning and end, 1 what is unknown. UTF-8{bytes}.
inline constexpr ::std::string_view tokens[] = {{
{rows}
}};
inline constexpr int token_count = {count};
// Whether a text ends where label 0 is written.
inline constexpr bool ends = {ends};
// The label of a token, 1 if there is none.
constexpr int label(::std::string_view token) noexcept {{
  for (int k = 2; k < token_count; ++k)
    if (tokens[k] == token) return k;
  return 1;
}}

"""


def write_header(estimator: "TextGenerator", path: Any, namespace: str | None) -> Any:
    """The header of ``rekur.export_cpp`` with the vocabulary in it."""
    target = as_path(path, "export_cpp")
    check_writable(target)
    with tempfile.TemporaryDirectory() as folder:  # the header appears whole or not at all
        first = Path(folder) / Path(target).name
        report = rekur.export_cpp(estimator._writer, first, namespace)
        text = first.read_text(encoding="utf-8")
    vocabulary = estimator._vocabulary
    tokens = [vocabulary.token(k) for k in range(len(vocabulary))]
    encoding = "latin-1" if vocabulary.level == "byte_pairs" else "utf-8"
    rows = ",\n".join(f"    {_literal(token.encode(encoding, 'replace'))}" for token in tokens)
    block = _TOKENS.format(
        bytes=", in pieces" if vocabulary.level == "byte_pairs" else "",
        rows=rows,
        count=len(tokens),
        ends="false" if estimator.through_ else "true",
    )
    end = f"}}  // namespace {report.namespace}\n"
    head, found, tail = text.rpartition(end)
    assert found
    head = head.replace("#include <cstddef>\n", "#include <cstddef>\n#include <string_view>\n", 1)
    content = (head + block + found + tail).encode()
    write_atomic(target, content)
    report.path, report.file_size = Path(target), len(content)
    return report


def _literal(content: bytes) -> str:
    """Bytes as a literal of C++: octal where a character is none that is seen."""
    shown = "".join(chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}" for b in content)
    return f'{{"{shown}", {len(content)}}}'
