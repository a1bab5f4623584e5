"""The page to try a model: made for its task, one file, with a script of its own and nothing from outside."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from rekur.tasks.report._css import css
from rekur.tasks.report._numbers import number
from rekur.tasks.report._page import escape

_SCRIPT = Path(__file__).with_name("page.js")

_TITLES = {
    "forecast": "A forecast",
    "sequences": "An answer for a sequence",
    "tokens": "Tags of a sequence of words",
    "anomalies": "Scores of a series",
    "texts": "An answer for a text",
    "translate": "A translation",
    "write": "A text that goes on",
}
_HELP = {
    "forecast": "Paste a table as CSV, with a line of column names, up to the step to forecast from; or leave it "
    "empty, and the forecast follows the data that the model learned from.",
    "sequences": "A line a step, the channels' values between commas; an empty value is missing. An empty line begins "
    "another sequence.",
    "anomalies": "A line a step, the channels' values between commas; an empty value is missing.",
    "tokens": "A line a sequence, blanks between its words.",
    "texts": "A line a text.",
    "translate": "A line a text.",
    "write": "What the text begins with.",
}


def page(name: str, card: dict[str, Any], adapter: Any) -> tuple[str, str]:
    """The page, and the policy it is sent with: no request but to this service, no script but its own."""
    script = _SCRIPT.read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    task = adapter.task
    data = json.dumps({"task": task, "card": card}, allow_nan=False).replace("<", "\\u003c")
    trained = [line.partition(":")[0] for line in card["network"] if ":" in line]
    facts = [("Estimator", card["estimator"]), ("Network", " → ".join(trained))]
    if card["parameters"] is not None:
        facts.append(("Parameters", number(card["parameters"])))
    for key in ("targets", "time", "series", "past", "future", "static", "horizon", "channels", "classes", "threshold"):
        value = card.get(key)
        if value is not None and value != []:
            shown = (
                ", ".join(map(str, value[:20])) + (" …" if len(value) > 20 else "")
                if isinstance(value, list)
                else value
            )
            facts.append((key.capitalize(), number(shown) if isinstance(shown, (int, float)) else shown))
    shown_facts = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v, 300)}</dd>" for k, v in facts if v != "")
    summary = f"<details><summary>What it was trained on</summary><pre>{escape(card['summary'])}</pre></details>"
    return (
        f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{escape(name, 100)}: try it</title>
<style>{css()}{_STYLE}</style>
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<div class="page">
<div class="bar"><span class="brand">rekur serve</span>
<fieldset class="theme"><legend class="hidden">Theme</legend>
<label><input type="radio" name="theme" id="theme-system" checked><span>System</span></label>
<label><input type="radio" name="theme" id="theme-light"><span>Light</span></label>
<label><input type="radio" name="theme" id="theme-dark"><span>Dark</span></label></fieldset></div>
<header class="title"><p class="kind">{escape(card["estimator"])}</p><h1>{escape(name, 100)}</h1></header>
<main id="content">
<section aria-labelledby="try"><h2 id="try">{_TITLES[task]}</h2>
<form id="form">{_fields(task, adapter)}
<p class="row"><button type="submit" id="go">Ask the model</button>{_stream_button(task, card)}
<span id="state" role="status"></span></p></form>
<div id="problem" role="alert" hidden></div>
<div id="answer" hidden><figure id="picture" hidden><h3 id="picture-title"></h3><div id="drawn"></div></figure>
<div id="words"></div>
<div class="scroll" id="table" tabindex="0" role="region" aria-label="The answer as a table" hidden></div>
</div></section>
<section aria-labelledby="program"><h2 id="program">From a program</h2>
<p>The request of above, to copy; <a href="/openapi.json">/openapi.json</a> describes all of them.</p>
<pre tabindex="0"><code id="curl"></code></pre></section>
<section aria-labelledby="about"><h2 id="about">The model</h2><dl class="facts">{shown_facts}</dl>{summary}</section>
</main></div>
<script type="application/json" id="data">{data}</script>
<script>{script}</script>
</body>
</html>
""",
        policy,
    )


def _fields(task: str, adapter: Any) -> str:
    example = escape(adapter.example())
    kind = "text" if task in ("tokens", "texts", "translate", "write") else "numbers"
    fields = [
        f'<p><label for="input">{"Text" if kind == "text" else "Data"}</label>'
        f'<span class="note" id="input-help">{escape(_HELP[task])}</span>'
        f'<textarea id="input" rows="{5 if task == "write" else 9}" spellcheck="false" aria-describedby="input-help" '
        f'class="{kind}">{example}</textarea></p>'
    ]
    if kind == "numbers":
        fields.append(
            '<p><label for="file">Or a file (CSV)</label><input type="file" id="file" accept=".csv,.txt,text/csv"></p>'
        )
    if task == "forecast" and adapter.facts().get("future"):
        fields.append(
            '<p><label for="future">Covariates of the steps to come</label>'
            '<span class="note" id="future-help">A table as CSV with times and these columns: '
            f"{escape(', '.join(adapter.facts()['future']), 300)}.</span>"
            '<textarea id="future" rows="5" spellcheck="false" class="numbers" aria-describedby="future-help">'
            "</textarea></p>"
        )
    if task == "write":
        fields.append(
            '<div class="row"><p><label for="length">Length in tokens</label>'
            f'<input type="number" id="length" min="1" max="{adapter.limits.length}" value="200"></p>'
            '<p><label for="temperature">Temperature</label>'
            '<input type="number" id="temperature" min="0" max="10" step="0.1" value="0.7"></p>'
            '<p><label for="seed">Seed</label>'
            '<input type="number" id="seed" min="0" max="2147483647" placeholder="any"></p></div>'
        )
    return "".join(fields)


def _stream_button(task: str, card: dict[str, Any]) -> str:
    if task == "write" and card["streams"]:
        return '<button type="button" id="live">Write as it comes</button>'
    if task == "anomalies" and card["streams"]:
        return '<button type="button" id="live">Send step by step</button>'
    return ""


_STYLE = """
form p{margin:.9rem 0;max-width:none}
label{font-weight:600;display:block}
.theme label{font-weight:400}
textarea,input[type=number]{width:100%;font:.9rem/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;
color:var(--ink);background:var(--desk);border:1px solid var(--rule);border-radius:8px;
padding:.6rem .75rem;margin-top:.35rem}
textarea{resize:vertical}
textarea.text{font-family:inherit;font-size:1rem}
input[type=number]{width:9rem}
input[type=file]{font:inherit;color:var(--ink);margin-top:.35rem;max-width:100%}
.row{display:flex;gap:.75rem 1.25rem;flex-wrap:wrap;align-items:center}
.row p{margin:0}
form .note{display:block;margin:.1rem 0}
button{font:inherit;font-weight:600;color:var(--paper);background:var(--series1);border:1px solid var(--series1);
border-radius:8px;padding:.5rem 1.1rem;cursor:pointer}
button#live{color:var(--link);background:none}
button:disabled{opacity:.6;cursor:default}
#table .short{white-space:nowrap}
#state{color:var(--soft)}
#problem{border-left:4px solid var(--alarm);background:var(--mark);padding:.6rem 1rem;border-radius:0 8px 8px 0;
overflow-wrap:anywhere;margin:.8rem 0}
#words{white-space:pre-wrap;overflow-wrap:anywhere;margin:1rem 0}
#words .big{font-size:1.5rem;font-weight:650}
#words .given{color:var(--soft)}
#drawn svg{font-size:12px;max-width:60rem}
#drawn text{fill:var(--soft)}
@media (max-width:40rem){#drawn svg{font-size:11px}}
"""
