"""The summary's options, and drawings of models."""

import re
import shutil
import xml.dom.minidom

import pytest

import rekur
from rekur import Model, Sequential, layers, utils
from rekur.layers import Input


def _model():
    inner = Sequential([Input((4,)), layers.Dense(3, activation="relu", name="hidden"), layers.Dense(2)], name="inner")
    a, b = Input((6, 3), name="a"), Input((6, 3), name="b")
    shared = layers.LSTM(4, name="shared")
    joined = layers.Add(name="sum")([shared(a), shared(b)])
    return Model([a, b], [inner(joined), layers.Dense(1, name="other", trainable=False)(joined)], name="drawn")


def _lines(**options):
    lines = []
    _model().summary(print_fn=lines.append, **options)
    return lines


def test_lines_are_as_long_as_they_are_asked_to_be_and_columns_wrap():
    for options in ({"line_length": 70}, {"positions": [20, 45, 55, 70]}, {"line_length": 70, "show_trainable": True}):
        lines = _lines(**options)
        table = [line for line in lines if "params" not in line and not line.startswith("Model")]
        assert max(map(len, table)) == 70 == len(table[0]), options
        joined = re.sub(r"\s", "", "".join(table))
        assert "shared" in joined
        assert len(table) > len(_lines()) - 4
    relative = _lines(line_length=80, positions=[0.25, 0.5, 0.75, 1.0])
    assert relative[2].index("Output Shape") == 22 + 0
    with pytest.raises(ValueError, match=r"a column of .* characters is too narrow"):
        _lines(line_length=12)
    with pytest.raises(ValueError, match="expected 4 positions"):
        _lines(positions=[0.5, 1.0])


def test_layers_of_models_within_follow_them_where_asked_for():
    assert not any("hidden" in line for line in _lines())
    nested = _lines(expand_nested=True)
    (place,) = [k for k, line in enumerate(nested) if line.startswith("inner (Sequential)")]
    assert nested[place + 1].startswith("   └ hidden (Dense)")
    assert "(None, 3)" in nested[place + 1]
    assert " 15 " in nested[place + 1]
    assert _lines()[-3:] == nested[-3:]  # counted once


def test_a_column_says_what_is_trained():
    lines = _lines(show_trainable=True)
    assert lines[2].endswith("Trainable")
    marks = {line.split(" ")[0]: line.rstrip()[-1] for line in lines[4:] if "(" in line and "params" not in line}
    assert marks["other"] == "N"
    assert marks["shared"] == "Y"
    assert marks["sum"] == "-"
    assert not any("frozen" in line for line in lines)


def test_a_range_of_layers_is_listed_by_names_or_patterns():
    lines = _lines(layer_range=("shared", "inn.*"))
    names = [line.split(" ")[0] for line in lines[4:-4]]
    assert names == ["shared", "sum", "inner"]
    assert _lines(layer_range=["inner", "shared"]) == lines  # either way around
    with pytest.raises(ValueError, match="no layer of model 'drawn' matches 'none'"):
        _lines(layer_range=("none", "sum"))
    with pytest.raises(ValueError, match="two names or patterns"):
        _lines(layer_range=("sum",))


def test_dot_has_a_box_a_layer_an_arrow_a_connection_and_a_cluster_a_model():
    text = utils.model_to_dot(_model(), show_shapes=True, show_dtype=True, show_trainable=True, rankdir="LR")
    assert text.count(" -> ") == 5
    assert '"shared" [label="shared (LSTM)\\nin: (None, 6, 3) float32\\nout: (None, 4) float32\\ntrainable"];' in text
    assert "rankdir=LR;" in text
    assert "not trainable" in text
    nested = utils.model_to_dot(_model(), expand_nested=True, show_layer_activations=True)
    assert 'subgraph "cluster_inner" {' in nested
    assert '"sum" -> "inner/hidden";' in nested
    assert "activation: relu" in nested
    assert utils.model_to_dot(_model(), show_layer_names=False).count("shared") == 4  # names of boxes alone
    assert utils.model_to_dot(_model(), subgraph=True).startswith('subgraph "cluster_drawn" {')
    with pytest.raises(ValueError, match="rankdir"):
        utils.model_to_dot(_model(), rankdir="UP")


@pytest.mark.parametrize("rankdir", ["TB", "LR", "BT", "RL"])
def test_a_drawing_of_our_own_has_boxes_that_do_not_overlap_and_arrows_that_go_one_way(tmp_path, monkeypatch, rankdir):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    picture = utils.plot_model(_model(), tmp_path / "m.svg", show_shapes=True, rankdir=rankdir, expand_nested=True)
    document = xml.dom.minidom.parse(picture.path)

    def numbers(element, *names):
        return [float(element.getAttribute(name)) for name in names]

    boxes = [numbers(r, "x", "y", "width", "height") for r in document.getElementsByTagName("rect")]
    assert len(boxes) == 7
    for k, (x, y, w, h) in enumerate(boxes):
        assert x >= 0 <= y
        for u, v, s, t in boxes[:k]:
            assert x + w <= u or u + s <= x or y + h <= v or v + t <= y
    for line in document.getElementsByTagName("line"):
        x1, y1, x2, y2 = numbers(line, "x1", "y1", "x2", "y2")
        assert {"TB": y2 > y1, "BT": y2 < y1, "LR": x2 > x1, "RL": x2 < x1}[rankdir]
    assert "inner/hidden (Dense)" in picture._repr_svg_()
    assert picture._repr_png_() is None


def test_graphviz_draws_where_it_is_and_otherwise_the_drawing_is_svg_beside_the_path(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.warns(UserWarning, match=r"drawn as '.*m\.svg', since Graphviz's program dot, which makes \.png"):
        picture = utils.plot_model(_model(), tmp_path / "m.png")
    assert picture.path == str(tmp_path / "m.svg")
    program = tmp_path / "dot"
    program.write_text('#!/bin/sh\ntest "$1" = -Tpng || { echo "no $1" >&2; exit 1; }\necho PNG; wc -l >&2\n')
    program.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(program))
    picture = utils.plot_model(_model(), tmp_path / "n.png")
    assert picture._repr_png_() == b"PNG\n"
    with pytest.raises(ValueError, match=r"dot could not draw .*no -Txyz"):
        utils.plot_model(_model(), tmp_path / "n.xyz")
    utils.plot_model(_model(), tmp_path / "n.dot")
    assert (tmp_path / "n.dot").read_text().startswith("digraph model {")
    with pytest.raises(OSError, match="none"):
        utils.plot_model(_model(), tmp_path / "none" / "n.dot")
    with pytest.raises(TypeError, match="plot_model has no argument 'colour'"):
        rekur.utils.plot_model(_model(), colour=3)


def test_what_no_gradient_changes_counts_as_not_trainable() -> None:
    model = Sequential([layers.Input((3,)), layers.BatchNormalization(), layers.Dense(2)])
    lines: list[str] = []
    model.summary(print_fn=lines.append)
    assert lines[-2:] == ["Trainable params: 14 (56 B)", "Non-trainable params: 6 (24 B)"]
    model.trainable = False
    model.summary(print_fn=lines.append)
    assert lines[-2:] == ["Trainable params: 0 (0 B)", "Non-trainable params: 20 (80 B)"]


def test_a_subgraph_shares_no_name_with_what_is_around_it():
    inner = Sequential([Input((4,)), layers.Dense(3, name="hidden")], name="same")
    made = Sequential([Input((4,)), inner, layers.Dense(1, name="hidden")], name="same")
    text = utils.model_to_dot(made, subgraph=True, expand_nested=True)
    clusters = re.findall(r'subgraph ("\S+") {', text)
    assert len(set(clusters)) == len(clusters) == 2
    boxes = re.findall(r'^ *("\S+") \[', text, re.MULTILINE)
    assert len(set(boxes)) == len(boxes) == 3 and all(box.startswith('"same/') for box in boxes)


def test_boxes_of_svg_have_their_names_as_titles(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    utils.plot_model(_model(), tmp_path / "m.svg", expand_nested=True)
    page = xml.dom.minidom.parse(str(tmp_path / "m.svg"))
    for box in page.getElementsByTagName("rect"):
        titles = box.parentNode.getElementsByTagName("title")
        assert box.parentNode.tagName == "g" and len(titles) == 1 and titles[0].firstChild.data
