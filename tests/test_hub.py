"""Folders of the Hugging Face hub, without a network; what huggingface_hub says of them, where it is installed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import rekur
from rekur import hub
from rekur.layers import LSTM, Bidirectional, Dense, Embedding


def _model() -> rekur.Sequential:
    model = rekur.Sequential(
        [Embedding(9, 4), Bidirectional(LSTM(3)), Dense(2, activation="softmax")], seed=1, name="tagger"
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(np.ones((4, 5), int), np.ones(4, int), epochs=1, verbose=0)
    return model


IDS = np.arange(10).reshape(2, 5) % 9


def test_a_folder_comes_back(tmp_path: Path) -> None:
    model, folder = _model(), tmp_path / "deep" / "tagger"
    model.save_pretrained(folder, license="apache-2.0", description="Says what a word is.")
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    for again in (
        rekur.Sequential.from_pretrained(folder), hub.from_pretrained(str(folder)),
        rekur.load(folder / "model.safetensors"),
    ):  # fmt: skip
        assert type(again) is rekur.Sequential and again.optimizer.name == "adam"
        np.testing.assert_array_equal(again.predict(IDS), model.predict(IDS))
    config = json.loads((folder / "config.json").read_text())
    assert config["library_name"] == config["model_type"] == "rekur" and config["architectures"] == ["Sequential"]
    assert config["inputs"][0]["shape"] == [None, None] and config["spec"] == json.loads(json.dumps(model.spec))
    fresh = rekur.Sequential.from_spec(config["spec"])
    assert fresh.count_params() == model.count_params()
    hub.save_pretrained(model, folder, weights="bf16")
    assert (folder / "model.safetensors").stat().st_size > 0


def test_the_card(tmp_path: Path) -> None:
    model = _model()
    card = hub.model_card(model, repo_id="someone/tagger", language="en", tags=["x: y\n---\n"], description="Of mine.")
    head = card.split("---")[1]
    assert 'library_name: "rekur"' in head and '- "lstm"' in head and '- "en"' in head and "license" not in head
    assert '- "x: y\\n' in card
    assert "# tagger\n\nOf mine.\n" in card and "rekur.hub.from_pretrained('someone/tagger')" in card
    assert "| input | `input` | (any, any) | int32 |" in card
    assert "| `bidirectional` | Bidirectional | (any, 6) | 192 |" in card
    model.save_pretrained(tmp_path)
    (tmp_path / "README.md").write_text("my words")
    model.save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "my words"


def test_folders_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        hub.from_pretrained(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=r"no model\.safetensors in the folder"):
        hub.from_pretrained(tmp_path)
    _model().save_pretrained(tmp_path)
    with pytest.raises(IsADirectoryError, match=r"a folder of the Hugging Face hub, .*rekur\.hub\.from_pretrained"):
        rekur.load(tmp_path)
    for text, message in (
        ('{"model_type": "bert"}', "is a model of 'bert', not of rekur"),
        ("[1]", r"is a model of \[1\]"),
        ("{", "is no JSON"),
        ("[" * 100000, "is no JSON"),
    ):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(ValueError, match=message):
            hub.from_pretrained(tmp_path)
    (tmp_path / "config.json").unlink()
    (tmp_path / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(OSError, match="git lfs pull"):
        hub.from_pretrained(tmp_path)
    with pytest.raises(OSError):
        _model().save_pretrained(tmp_path / "model.safetensors" / "x")
    for name in ("hf://", "hf://a/../b", "hf://a b/c", "hf:///a"):
        with pytest.raises(ValueError, match="is no name of a repository"):
            rekur.load(name)


def test_without_huggingface_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for call in (
        lambda: rekur.load("hf://someone/name"),
        lambda: hub.from_pretrained("someone/name"),
        lambda: hub.push_to_hub(_model(), "someone/name"),
    ):
        with pytest.raises(ImportError, match=r'pip install "rekur\[hub\]"'):
            call()


def test_with_huggingface_hub(tmp_path: Path) -> None:
    huggingface_hub = pytest.importorskip("huggingface_hub")
    model, commit = _model(), "0" * 40
    repository = tmp_path / "models--someone--tagger"
    folder = repository / "snapshots" / commit
    model.save_pretrained(folder, license="mit", language=["en", "de"], tags=["a: b"])
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    card = huggingface_hub.ModelCard.load(folder / "README.md")
    assert card.data.library_name == "rekur" and card.data.language == ["en", "de"] and "a: b" in card.data.tags
    options = {"cache_dir": tmp_path, "local_files_only": True}
    for name in (
        "someone/tagger",
        "hf://someone/tagger",
        "hf://someone/tagger@main",
        "hf://someone/tagger/model.safetensors",
    ):
        np.testing.assert_array_equal(hub.from_pretrained(name, **options).predict(IDS), model.predict(IDS))
    with pytest.raises(ValueError, match="says revision 'main', and revision='v2'"):
        hub.from_pretrained("hf://someone/tagger@main", revision="v2")
    with pytest.raises(OSError, match=r"hf://someone/other/.*: the Hugging Face hub did not give it"):
        hub.from_pretrained("someone/other", **options)
    code = "import rekur; print(rekur.load('hf://someone/tagger').name); rekur.load('hf://someone/other')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        env={"PATH": "", "HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1", "PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert done.stdout == "tagger\n", done.stderr
    assert "OSError: hf://someone/other/" in done.stderr and "did not give it" in done.stderr
