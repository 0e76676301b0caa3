import io

from PIL import Image

from nmsynth.report.tradeoff import _labels, complete, trade_off, trade_off_rows

CURVES = {
    "synthetic": [
        {"setting": s, "recovery": r, "noise": n, "false_structures": f, "lesions": "10-18 mm"}
        for s, r, n, f in (("low", 0.6, 0.12, 4), ("standard", 0.5, 0.1, 1), ("high", 0.45, 0.1, 0))
    ],
    "Gaussian of the source": [
        {"setting": f"{w} mm", "recovery": 1 - w / 12, "noise": 0.5 / (1 + w), "false_structures": 900 / (1 + w) ** 2}
        for w in range(12)
    ],
    "wavelet": [{"setting": "", "recovery": 0.3, "noise": 0.2, "false_structures": 12}],
}


def size_of(png):
    return Image.open(io.BytesIO(png)).size


def test_both_panels_are_drawn():
    assert size_of(trade_off(CURVES, main="synthetic")) == (1500, 450)


def test_one_panel_where_no_point_has_false_structures():
    curves = {"synthetic": [{"recovery": 0.5, "noise": 0.1}]}
    assert size_of(trade_off(curves, main="synthetic"))[0] == 880


def test_levels_are_rows():
    assert size_of(trade_off_rows({"1/4": CURVES, "1/10": CURVES}, main="synthetic"))[1] == 880


def test_nothing_is_drawn_without_a_complete_point():
    assert trade_off({"a": [{"recovery": None, "noise": 0.1}, {"recovery": 0.2}]}, main=None) is None
    assert complete([{"recovery": float("nan"), "noise": 0.1}], "noise") == []


def test_labels_of_points_at_one_place_are_joined():
    import numpy as np

    found = _labels(["low", "standard", "high"], np.array([0.2, 0.1, 0.1]), np.array([0.6, 0.4, 0.41]), join=True)
    assert [text for text, _, _ in found] == ["low", "standard, high"]
