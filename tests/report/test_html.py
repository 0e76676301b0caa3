import base64
import json
import re
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from nmsynth.core.acquisition import Acquisition
from nmsynth.core.errors import InputError
from nmsynth.core.units import Unit
from nmsynth.report.html import write_report
from nmsynth.report.pictures import BANNER
from nmsynth.report.scene import prepare_scene
from tests.helpers import require_peer
from tests.report.scenes import LESIONS, body, images, turned, volume

HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}{% raw %}\n\x1b[31m\u202egnp\x00 $\\frac{1}{0}$ 画像"
)
CURVES = {
    "synthetic": [{"recovery": 0.5, "noise": 0.1, "false_structures": 2}],
    "Gaussian": [{"recovery": 0.4, "noise": 0.1}, {"recovery": 0.6, "noise": 0.2, "false_structures": 9}],
}


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text.append(data)


def measurements():
    row = {"name": "NRMSE", "value": 0.2, "unit": "1", "mask": "body", "reference": "T1", "data_range": 7.0}
    return {"synthetic": {"measurements": [row, {**row, "arm": "source", "value": 0.5}], "warnings": ["short scan"]}}


def write(path, **options):
    return write_report(path, **{"images": images(), **options}).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """Path of a report with every section."""
    path = tmp_path_factory.mktemp("full") / "report.html"
    write(
        path,
        metrics=measurements(),
        lesions=LESIONS,
        curves=CURVES,
        card={
            "name": "lowcount-pet",
            "sha256": "ab" * 32,
            "data": [{"name": "phantoms", "licence": "Apache-2.0"}],
            "failures": ["small lesions"],
        },
        record={"seed": 3, "flags": ["few counts"]},
        title="Patient 1",
        reference_kind="T1",
        claim="It works on one phantom.",
    )
    return path


def test_full_report_is_one_file_with_every_section(full):
    text = full.read_text(encoding="utf-8")
    for name in (
        "verdict",
        "planes",
        "differences",
        "lesions",
        "tradeoff",
        "voxels",
        "tables",
        "study",
        "model",
        "record",
    ):
        assert f'<section id="{name}"' in text
    for words in (
        "T1, the noise-free reconstruction",
        "technical evaluation on simulated data",
        "few counts",
        "short scan",
    ):
        assert words in text
    assert text.count(BANNER) >= 9
    assert text.rindex("It works on one phantom.") > text.rindex('id="record"')
    assert len(text) < 6_000_000


def test_nothing_is_loaded_from_elsewhere(full):
    text = full.read_text(encoding="utf-8")
    page = Page(text)
    assert (
        "default-src &#39;none&#39;" in text or "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in text
    )
    assert "script" not in page.tags
    links = [value for name, value in page.attributes if name in ("src", "href")]
    assert all(value.startswith(("data:", "#")) for value in links)
    assert not re.search(r"url\(|@import|https?://", text)
    for value in links:
        if value.startswith("data:image/png"):
            assert base64.b64decode(value.split(",", 1)[1], validate=True).startswith(b"\x89PNG")


def test_source_and_synthetic_alone_make_a_report_without_claim_of_accuracy(tmp_path):
    two = images()
    del two["reference"]
    text = write(tmp_path / "report.html", images=two)
    assert "the source (no truth is known)" in text
    assert "proof of concept" in text
    assert "No measurements were given" in text
    assert 'id="lesions"' not in text


def test_noisy_reference_is_called_so(tmp_path):
    text = write(tmp_path / "report.html", lesions=LESIONS, reference_kind="T2")
    assert "T2, a noisy reference" in text
    assert "Against a noisy reference SUVmax is biased upward" in text


def test_only_the_synthetic_image_can_be_shown(tmp_path):
    text = write(tmp_path / "report.html", images={"synthetic": images()["synthetic"]})
    assert 'id="differences"' not in text


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_empty_images_do_not_divide(tmp_path, value):
    empty = {name: volume(np.full((8, 9, 10), value)) for name in ("source", "synthetic", "reference")}
    lesion = {"centre_index": [4, 4, 4], "diameter_mm": 15.0}
    text = write(tmp_path / "report.html", images=empty, lesions=[lesion], reference_kind="T1")
    assert not re.search(r"\bnan\b|\binf\b", re.sub(r"base64,[^\"]+", "", text), re.IGNORECASE)


def test_hostile_text_appears_as_text_only(tmp_path):
    three = images()
    three["source"] = replace(
        three["source"], acquisition=Acquisition(series_description=HOSTILE, scanner=HOSTILE), warnings=(HOSTILE,)
    )
    three[HOSTILE] = three["reference"]
    row = dict.fromkeys(("name", "unit", "mask", "reference", "arm", "reason", "interval"), HOSTILE)
    text = write(
        tmp_path / "report.html",
        images=three,
        metrics={HOSTILE: {"rows": [{**row, "value": 1.0}], "definitions": {HOSTILE: HOSTILE}, "warnings": [HOSTILE]}},
        lesions=[{**LESIONS[0], "name": HOSTILE}],
        curves={HOSTILE: CURVES["Gaussian"]},
        card={HOSTILE: [HOSTILE, {HOSTILE: HOSTILE}], "name": HOSTILE},
        record={HOSTILE: [HOSTILE], "flags": [HOSTILE], "nmsynth_version": HOSTILE},
        title=HOSTILE,
        reference_kind=HOSTILE,
        claim=HOSTILE,
        claim_class=HOSTILE,
        flags=[HOSTILE],
    )
    page = Page(text)
    shown = "".join(page.text)
    assert "script" not in page.tags
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert "{{7*7}}" in shown
    assert "49{%" not in shown
    assert r"\x0a\x1b[31m\u202egnp\x00" in shown
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e]", text)


def test_flipped_and_transposed_images_give_the_same_page(tmp_path):
    first = images()
    z, _, x = first["source"].array.shape[:1] + first["source"].array.shape[1:]
    second = {name: turned(image, (0, 1, 2), (0, 2)) for name, image in first.items()}
    mirrored = [
        {
            **lesion,
            "centre_index": [
                z - 1 - lesion["centre_index"][0],
                lesion["centre_index"][1],
                x - 1 - lesion["centre_index"][2],
            ],
        }
        for lesion in LESIONS
    ]
    one = write(tmp_path / "one.html", images=first, lesions=LESIONS)
    other = write(tmp_path / "other.html", images=second, lesions=mirrored)
    assert one == other


def test_existing_file_is_kept_unless_overwrite(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="is there already"):
        write(path)
    assert path.read_text(encoding="utf-8") == "mine"
    assert "<!DOCTYPE html>" in write(path, overwrite=True)
    assert [item.name for item in tmp_path.iterdir()] == ["report.html"]


def test_failure_leaves_nothing_behind(tmp_path):
    mixed = {**images(), "another": volume(body(), unit=Unit.COUNTS)}
    with pytest.raises(InputError, match="share one unit"):
        write(tmp_path / "report.html", images=mixed)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("unit", [Unit.COUNTS, Unit.RELATIVE])
def test_a_source_of_unknown_scale_is_shown_in_its_own_window(tmp_path, unit):
    apart = {**images(), "source": volume(100 * body(), unit=unit)}
    scene = prepare_scene(apart, None, None)
    assert "source" not in scene.alike
    assert scene.scales["source"].high > 10 * scene.scales["synthetic"].high
    assert "Three planes" in write(tmp_path / "report.html", images=apart)


def test_image_without_suv_gets_its_own_window(tmp_path):
    counts = {name: volume(100 * body(), unit=Unit.COUNTS) for name in ("source", "synthetic")}
    text = write(tmp_path / "report.html", images=counts)
    assert "Window <b>0–500</b>" in text


def test_no_image_and_a_bad_point_are_refused(tmp_path):
    with pytest.raises(InputError, match="at least one image"):
        write(tmp_path / "report.html", images={})
    with pytest.raises(InputError, match="three finite indices"):
        write(tmp_path / "report.html", point=[1.0, 2.0])


def render(browser, page, folder):
    """Log, document and the addresses that the page itself asked for; the browser's own requests have no origin."""
    log = folder / "net.json"
    options = "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-sync"
    done = subprocess.run(
        [
            browser,
            *(f"--{name}" for name in options.split()),
            *("--disable-component-update", "--enable-logging=stderr", "--window-size=1300,2000"),
            *(f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}", "--dump-dom", page.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    asked = [event.get("params", {}) for event in json.loads(log.read_text(encoding="utf-8"))["events"]]
    urls = [p["url"] for p in asked if "url" in p and p.get("initiator", "not an origin") != "not an origin"]
    return done.stderr, done.stdout, [url for url in urls if not url.startswith(("file:", "data:"))]


def test_page_renders_in_chromium_without_errors_or_requests(full, tmp_path):
    browser = require_peer("chromium")
    control = tmp_path / "control.html"
    control.write_text("<img src='http://127.0.0.1:9/x.png'><script>console.log('CONTROL')</script>", encoding="utf-8")
    log, document, urls = render(browser, full, tmp_path)
    assert "CONSOLE" not in log
    assert 'id="claim"' in document
    assert urls == []
    log, _, urls = render(browser, control, tmp_path)
    assert "CONTROL" in log
    assert "http://127.0.0.1:9/x.png" in urls


def test_record_is_shown_as_json(tmp_path):
    text = write(tmp_path / "report.html", record={"seed": 3, "device": "cpu"})
    shown = "".join(Page(text).text)
    assert json.dumps({"seed": 3, "device": "cpu"}, indent=2) in shown


def test_the_card_shows_its_verdict_first_and_the_network_without_the_idea(tmp_path):
    metric = {"name": "NRMSE", "value": 0.12, "ablation": 0.1437, "ablation_verdict": "not told apart"}
    card = {"summary": "Takes an image.", "verdict": "Does not beat its baselines.", "name": "m", "metrics": [metric]}
    page = write_report(tmp_path / "r.html", images=images(), card=card).read_text(encoding="utf-8")
    own = page[page.index('id="model"') :]
    assert 0 < own.index("Does not beat its baselines.") < own.index("Takes an image.")
    assert own.index("0.144") < own.index("not told apart")
