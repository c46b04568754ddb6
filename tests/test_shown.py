"""What notebooks show of networks and histories, and histories as DataFrames."""

from __future__ import annotations

import sys
from xml.etree import ElementTree

import pytest
from networks import ChannelScale, small, stripes

from cnn_ext import Conv2d, Epoch, Flatten, History, Linear, Module, Sequential, Trainer
from cnn_ext._html import table

X, Y = stripes(20)


def cells(html: str) -> list[list[str]]:
    """The texts of the rows of a table; the whole must be XML."""
    rows = ElementTree.fromstring(html).iter("tr")
    return [["".join(cell.itertext()) for cell in row] for row in rows]


def history(epochs: int, validated: bool = True) -> History:
    costs = [(1 / n, 1 / n + 0.1 if validated else None) for n in range(1, epochs + 1)]
    return History([Epoch(i + 1, a, None, 0.1, 1.0, 9.0, b) for i, (a, b) in enumerate(costs)])


def test_a_history_is_curves_and_a_table() -> None:
    html = history(3)._repr_html_()
    assert cells(html)[0] == ["epoch", "cost", "validation cost", "learning rate", "seconds"]
    assert cells(html)[2] == ["2", "0.5000", "0.6000", "0.1", "1.0"]
    lines = [e for e in ElementTree.fromstring(html).iter() if e.tag.endswith("polyline")]
    assert [len(line.attrib["points"].split()) for line in lines] == [3, 3]
    assert "validation" not in history(3, validated=False)._repr_html_()
    shown = cells(history(500)._repr_html_())
    assert len(shown) == 22 and shown[10][0] == "10" and shown[12][0] == "491"


def test_histories_of_no_epoch_and_of_one_and_of_equal_costs() -> None:
    assert "0 epochs" in History()._repr_html_()
    ElementTree.fromstring(History()._repr_html_())
    assert "1 epoch," in History(history(1).epochs, "early")._repr_html_()
    ElementTree.fromstring(History([Epoch(i, 1.0, 1.0, 0, 0, 0) for i in (1, 2)])._repr_html_())


def test_a_network_that_knows_its_images_is_its_summary() -> None:
    net = small()
    Trainer(net).fit(X, Y, progress=False)
    rows = cells(net._repr_html_())
    assert rows[0] == ["", "layer", "output", "parameters", "multiply-adds"]
    assert rows[1][1:4] == ["Conv2d", "4 x 4 x 4", "40"] and rows[-1][1:4] == ["total", "3", "91"]


def test_other_networks_are_their_layers() -> None:
    rows = cells(Sequential(Conv2d(1, 4, 3), Flatten())._repr_html_())
    assert rows[1][0] == "0" and rows[1][1].startswith("Conv2d(") and rows[1][2] == "40"
    assert rows[-1] == ["", "total", "40"]
    assert cells(Linear(3, 2)._repr_html_())[1][2] == "8"
    net = Sequential(ChannelScale(2))
    net.input_shape = (1, 2, 2)  # which does not fit
    assert cells(net._repr_html_())[-1] == ["", "total", "2"]
    assert cells(Module()._repr_html_())[-1] == ["", "Module()", "0"]


def test_texts_are_escaped() -> None:
    evil = "<script>alert('&')</script>"

    class Evil(Module):
        arguments = ("name",)
        name = evil

    for html in (
        table([evil], [[evil]], evil),
        Sequential(Evil())._repr_html_(),
        Evil()._repr_html_(),
        History(history(1).epochs, evil)._repr_html_(),
        History([], evil)._repr_html_(),
    ):
        assert "<script>" not in html and "&lt;script&gt;" in html
        ElementTree.fromstring(html)


def test_a_history_as_a_data_frame() -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    frame = history(3).to_frame()
    assert list(frame.index) == [1, 2, 3] and frame.index.name == "number"
    assert list(frame["cost"]) == history(3)["cost"]
    assert list(History().to_frame().columns) == list(frame.columns)


def test_without_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(
        ImportError, match=r"to_frame needs pandas: pip install 'cnn_ext\[frames\]'"
    ):
        history(1).to_frame()
