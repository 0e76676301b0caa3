"""What simplified analyses make of curves that two compartments made, without noise and with it.

    python -m benchmarks.kinetics_bias --out benchmarks/results/kinetics_bias

Every curve has its tracer's mean input and rate constants, blood and metabolites included, in the tracer's frames; the
truth is that of the rate constants. Bias is (found - true) / true, of 1 + BP for binding.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nmsynth.data.dynamic_scan import scan_head_dynamic
from nmsynth.data.parametric import parametric_images, static_images, true_images
from nmsynth.physics.dynamic_tracers import AMYLOID_110_S, dynamic_tracer
from nmsynth.physics.input_function import fine_minutes
from nmsynth.physics.kinetics import RateConstants, frame_means, patlak, tissue_curve
from nmsynth.physics.phantom import LesionPlan, WholeBodySettings, whole_body_patient
from nmsynth.physics.rate_constants import FDG, amyloid_rates, dopa_rates
from nmsynth.physics.reference_models import logan_reference, patlak_reference
from nmsynth.physics.reference_tissue_image import srtm_image

SCHEMA_VERSION = 1
AMYLOID_TRACERS = ("florbetaben", "flutemetamol", "florbetapir")
SEVERITIES = (0.0, 0.25, 0.5, 0.75, 1.0)
WINDOWS = ((30.0, 50.0), (50.0, 70.0), (70.0, 90.0), (90.0, 110.0))
EDGES = np.concatenate([[0.0], np.cumsum(AMYLOID_110_S)]) / 60
FRAMES = np.stack([EDGES[:-1], EDGES[1:]], axis=1)
MINUTES = fine_minutes(110.0)
NOISE = (0.0, 0.05, 0.1, 0.2)
"""Relative standard deviations of a frame of 5 minutes at 60 minutes."""


def means_of(rates: RateConstants, tracer: str, spans: np.ndarray = FRAMES) -> np.ndarray:
    """Mean of a tissue in each span."""
    blood = dynamic_tracer(tracer).blood
    curve = tissue_curve(rates, blood.plasma(MINUTES), MINUTES, whole_blood=blood.whole_blood(MINUTES))
    return frame_means(curve, MINUTES, spans)


def binding_found(target: RateConstants, reference: RateConstants, tracer: str) -> dict[str, float]:
    """1 + BP, true and by every method."""
    curves = [means_of(r, tracer)[:, None] for r in (target, reference)]
    start = dynamic_tracer(tracer).fit_start_min
    efflux = reference.k1 / reference.distribution_volume
    found = {
        "true": target.distribution_volume / reference.distribution_volume,
        "SRTM": 1 + float(srtm_image(curves[0], FRAMES, curves[1][:, 0]).binding_potential[0]),
        "Logan": float(logan_reference(curves[0], FRAMES, curves[1][:, 0], start_min=start)[0]),
        "Logan, k2'": float(
            logan_reference(curves[0], FRAMES, curves[1][:, 0], start_min=start, k2_reference_per_min=efflux)[0]
        ),
    }
    for window in WINDOWS:
        ratio = means_of(target, tracer, np.array([window])) / means_of(reference, tracer, np.array([window]))
        found[f"SUVR {window[0]:g}-{window[1]:g}"] = float(ratio[0])
    return found


def binding_rows() -> list[dict[str, Any]]:
    """Cortex over plaques, putamen and white matter, by tracer; with the blood in each tissue and without."""
    rows = []
    for tracer in AMYLOID_TRACERS:
        for blood in (0.05, 0.0):
            cases = [("cortex", severity) for severity in SEVERITIES] + [("putamen", 0.5), ("white matter", 0.0)]
            for region, severity in cases:
                rates = amyloid_rates(tracer, severity)
                pair = [replace(rates[name], blood_volume=blood) for name in (region, "cerebellar grey")]
                found = binding_found(*pair, tracer)
                rows.append({"tracer": tracer, "blood": blood, "region": region, "severity": severity, **found})
    return rows


def exchange_rows() -> list[dict[str, Any]]:
    """Cortex at a ratio of 1.6 against a reference of one compartment, by speed of binding and free volume.

    The model takes the free volume of a tissue for that of the reference.
    """
    rows = []
    cases = [(k4, 1.0) for k4 in (0.005, 0.01, 0.02, 0.05, 0.1, 0.3)] + [(k4, 0.8) for k4 in (0.01, 0.02, 0.1)]
    for k4, volume in cases:
        target = RateConstants(0.25, 0.10 / volume, (1.6 / volume - 1) * k4, k4, 0.05)
        found = binding_found(target, RateConstants(0.275, 0.11, blood_volume=0.05), "florbetapir")
        rows.append({"k4_per_min": k4, "free_volume": volume, **found})
    return rows


def noise_rows(n: int = 4000) -> list[dict[str, Any]]:
    """Mean and spread over voxels of 1 + BP of florbetaben in cortex, the reference without noise."""
    rates = amyloid_rates("florbetaben", 0.5)
    target, reference = (means_of(rates[region], "florbetaben") for region in ("cortex", "cerebellar grey"))
    length, middle = FRAMES[:, 1] - FRAMES[:, 0], FRAMES.mean(1)
    level = float(np.interp(60.0, middle, target))
    growth = 2.0 ** (middle / 109.77)  # of the noise's variance, by decay correction
    shape = np.sqrt(target * growth / length / (level * 2.0 ** (60 / 109.77) / 5.0)) * level
    normal = np.random.default_rng(0).standard_normal((len(FRAMES), n))
    rows = []
    for relative in NOISE:
        noisy = target[:, None] + relative * shape[:, None] * normal
        srtm = 1 + srtm_image(noisy, FRAMES, reference).binding_potential
        logan = logan_reference(noisy, FRAMES, reference, start_min=50.0)
        late = FRAMES[:, 0] >= 90
        ratio = noisy[late].mean(0) / reference[late].mean()
        row: dict[str, Any] = {
            "noise": relative,
            "true": rates["cortex"].distribution_volume / rates["cerebellar grey"].distribution_volume,
        }
        for name, values in (("SRTM", srtm), ("Logan", logan), ("SUVR 90-110", ratio)):
            row[name] = float(values.mean())
            row[f"{name} SD"] = float(values.std())
        rows.append(row)
    return rows


def patlak_rows() -> list[dict[str, Any]]:
    """Slope over ``(1 - V_b) K_i`` less one, FDG, by release and window."""
    plasma, rows = dynamic_tracer("FDG").blood.plasma(MINUTES), []
    for region in ("cortex", "white matter"):
        for share in (0.0, 0.5, 1.0):
            rates = replace(FDG[region], k4=FDG[region].k4 * share)
            for start, end in ((10.0, 30.0), (15.0, 45.0), (30.0, 45.0), (30.0, 60.0), (45.0, 60.0), (60.0, 90.0)):
                spans = np.array([(a, a + 5.0) for a in np.arange(0.0, end, 5.0)])
                fit = patlak(means_of(rates, "FDG", spans), spans, plasma, MINUTES, start_min=start)
                bias = fit.slope / ((1 - rates.blood_volume) * rates.influx) - 1
                rows.append({"region": region, "k4_per_min": rates.k4, "window_min": [start, end], "bias": bias})
    return rows


def dopa_rows() -> list[dict[str, Any]]:
    """Slope over the true ``K_occ`` less one, by window, with blood in both tissues."""
    rows = []
    for severity in (0.0, 1.0):
        rates = dopa_rates(severity)
        for region in ("caudate", "putamen"):
            r = rates[region]
            true = r.k2 * r.k3 / (r.k2 + r.k3)
            for start, end in ((20.0, 60.0), (30.0, 90.0), (60.0, 90.0)):
                used = FRAMES[:, 1] <= end + 1e-9
                slope = patlak_reference(
                    means_of(r, "FDOPA")[used][:, None],
                    FRAMES[used],
                    means_of(rates["occipital"], "FDOPA")[used],
                    start_min=start,
                )[0]
                rows.append(
                    {"severity": severity, "region": region, "window_min": [start, end], "true_per_min": true,
                     "bias": float(slope / true - 1)}
                )  # fmt: skip
    return rows


def early_rows() -> list[dict[str, Any]]:
    """Early and late FDG, and early amyloid, relative to cortex, beside the rate constants they stand for."""
    rows = []
    regions = (
        "occipital", "cerebellar grey", "thalamus", "putamen", "hippocampus", "brainstem", "white matter",
    )  # fmt: skip
    spans = {"0-5": (0.0, 5.0), "0-10": (0.0, 10.0), "30-60": (30.0, 60.0)}
    fdg = {n: [means_of(FDG[r], "FDG", np.array([w]))[0] for r in ("cortex", *regions)] for n, w in spans.items()}
    amyloid = amyloid_rates("florbetaben", 0.8)
    early = {r: means_of(amyloid[r], "florbetaben", np.array([(0.0, 10.0)]))[0] for r in amyloid}
    for k, region in enumerate(regions, start=1):
        row: dict[str, Any] = {"region": region, "K1": FDG[region].k1 / FDG["cortex"].k1}
        row["Ki"] = FDG[region].influx / FDG["cortex"].influx
        row |= {f"FDG {name}": float(values[k] / values[0]) for name, values in fdg.items()}
        row["amyloid K1"] = amyloid[region].k1 / amyloid["cortex"].k1
        row["amyloid 0-10"] = float(early[region] / early["cortex"])
        rows.append(row)
    return rows


def study_rows() -> list[dict[str, Any]]:
    """Region means of a scanned procedural head, 3 mm voxels: what scan, noise-free scan and true frames give."""
    patient = whole_body_patient(1, lesions=LesionPlan(count=0), settings=WholeBodySettings(arms="down"))
    rows = []
    for tracer, severity in (("FDG", 0.0), ("florbetaben", 0.8)):
        study = scan_head_dynamic(patient, tracer=tracer, severity=severity, seed=1)
        kinds = {"T0": study.truth, "T1": study.noise_free, "scan": study.scan}
        images = {k: {**static_images(study, v, ""), **parametric_images(study, v, "")} for k, v in kinds.items()}
        true = true_images(study)
        for region in ("cortex", "white matter", "cerebellar grey"):
            mask = study.head.labels == study.head.names.index(region)
            known = {"patlak": "ki_true", "dvr": "dvr_true", "bp": "bp_true"}
            for image in ("suvr", "patlak", "dvr", "bp"):
                if image in images["T0"]:
                    row: dict[str, Any] = {"tracer": tracer, "region": region, "image": image}
                    truth = true.get(known.get(image, ""))
                    row["rate constants"] = None if truth is None else float(truth.array[mask].mean())
                    row |= {k: float(found[image].array[mask].mean()) for k, found in images.items()}
                    rows.append(row)
    return rows


def measure() -> dict[str, Any]:
    """All numbers."""
    return {
        "schema_version": SCHEMA_VERSION,
        "binding": binding_rows(),
        "exchange": exchange_rows(),
        "noise": noise_rows(),
        "patlak": patlak_rows(),
        "dopa": dopa_rows(),
        "early": early_rows(),
        "study": study_rows(),
    }


def table(head: list[str], rows: list[list[Any]]) -> str:
    """A table in Markdown; numbers with three places."""
    lines = [head, ["---"] * len(head), *([f"{c:.3f}" if isinstance(c, float) else str(c) for c in r] for r in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def percent(found: float, true: float) -> str:
    """Relative bias."""
    return f"{found / true - 1:+.1%}"


def markdown(record: dict[str, Any]) -> str:
    """The same as tables."""
    methods = ["SRTM", "Logan", "Logan, k2'", *(f"SUVR {a:g}-{b:g}" for a, b in WINDOWS)]
    parts = ["# Bias of kinetic analyses under two compartments\n", "1 + BP, bias by method, without noise.\n"]
    parts.append(
        table(
            ["tracer", "V_b", "region", "severity", "1 + BP", *methods],
            [
                [r["tracer"], f"{r['blood']:g}", r["region"], f"{r['severity']:g}", r["true"]]
                + [percent(r[m], r["true"]) for m in methods]
                for r in record["binding"]
            ],
        )
    )
    parts.append(
        "\nSpeed of binding, and free volume over the reference's (one compartment); cortex at 1 + BP = 1.6.\n"
    )
    parts.append(
        table(
            ["k4 [1/min]", "free volume", *methods],
            [
                [f"{r['k4_per_min']:g}", f"{r['free_volume']:g}", *(percent(r[m], r["true"]) for m in methods)]
                for r in record["exchange"]
            ],
        )
    )
    parts.append("\nNoise: mean and SD over voxels of 1 + BP, florbetaben in cortex at severity 0.5.\n")
    names = ("SRTM", "Logan", "SUVR 90-110")
    parts.append(
        table(
            ["noise of 5 min at 60 min", "true", *names],
            [
                [f"{r['noise']:.0%}", r["true"], *(f"{r[n]:.3f} ({r[n + ' SD']:.3f})" for n in names)]
                for r in record["noise"]
            ],
        )
    )
    parts.append("\nPatlak with plasma, FDG: slope over (1 - V_b) Ki, less one.\n")
    windows = list(dict.fromkeys(tuple(r["window_min"]) for r in record["patlak"]))
    lines: dict[tuple[str, float], list[Any]] = {}
    for r in record["patlak"]:
        lines.setdefault((r["region"], r["k4_per_min"]), []).append(f"{r['bias']:+.1%}")
    parts.append(
        table(
            ["region", "k4 [1/min]", *(f"{a:g}-{b:g} min" for a, b in windows)],
            [[region, f"{k4:.4f}", *cells] for (region, k4), cells in lines.items()],
        )
    )
    parts.append("\nPatlak with a reference, FDOPA.\n")
    parts.append(
        table(
            ["severity", "region", "window [min]", "true [1/min]", "bias"],
            [
                [f"{r['severity']:g}", r["region"], f"{r['window_min'][0]:g}-{r['window_min'][1]:g}",
                 f"{r['true_per_min']:.4f}", f"{r['bias']:+.1%}"]
                for r in record["dopa"]
            ],
        )
    )  # fmt: skip
    parts.append("\nEarly images: relative to cortex, beside the rate constants.\n")
    columns = [c for c in record["early"][0] if c != "region"]
    parts.append(table(["region", *columns], [[r["region"], *(r[c] for c in columns)] for r in record["early"]]))
    parts.append("\nA scanned head: mean of a region by what the image was made from.\n")
    parts.append(
        table(
            ["tracer", "region", "image", "rate constants", "true frames (T0)", "noise-free scan (T1)", "scan"],
            [
                [r["tracer"], r["region"], r["image"]]
                + ["" if r[k] is None else f"{r[k]:.4f}" for k in ("rate constants", "T0", "T1", "scan")]
                for r in record["study"]
            ],
        )
    )
    return "\n".join(parts) + "\n"


def figure(record: dict[str, Any], path: Path) -> None:
    """Bias against binding by method, of SUVR by window, and of Patlak by window."""
    picture = Figure(figsize=(13, 4), layout="constrained")
    FigureCanvasAgg(picture)
    left, middle, right = picture.subplots(1, 3)
    for tracer, marker in zip(AMYLOID_TRACERS, "os^", strict=True):
        rows = [
            r for r in record["binding"]
            if (r["tracer"], r["blood"], r["region"]) == (tracer, 0.05, "cortex")
        ]  # fmt: skip
        true = np.array([r["true"] for r in rows])
        for method, colour in (("SRTM", "C0"), ("Logan", "C1")):
            bias = [100 * (r[method] / r["true"] - 1) for r in rows]
            left.plot(true, bias, marker=marker, color=colour, label=f"{method}, {tracer}")
        widths = [f"SUVR {a:g}-{b:g}" for a, b in WINDOWS]
        middle.plot([sum(w) / 2 for w in WINDOWS], [100 * (rows[2][w] / rows[2]["true"] - 1) for w in widths],
                    marker=marker, label=f"{tracer}, 1 + BP = {rows[2]['true']:.2f}")  # fmt: skip
    left.set(xlabel="true 1 + BP", ylabel="bias of 1 + BP [%]", title="Reference models, cortex")
    left.set_ylim(-12, 14)
    middle.set(xlabel="middle of the window [min]", ylabel="SUVR over 1 + BP, less one [%]", title="SUVR by window")
    cortex = [r for r in record["patlak"] if r["region"] == "cortex"]
    for k4 in dict.fromkeys(r["k4_per_min"] for r in cortex):
        rows = [r for r in cortex if r["k4_per_min"] == k4]
        labels = [f"{r['window_min'][0]:g}-{r['window_min'][1]:g}" for r in rows]
        right.plot(labels, [100 * r["bias"] for r in rows], marker="o", label=f"k4 = {k4:.4f}/min")
    right.set(xlabel="window [min]", ylabel="bias of (1 - V$_b$) K$_i$ [%]", title="Patlak, FDG in cortex")
    for axes in (left, middle, right):
        axes.axhline(0, color="0.6", linewidth=0.8)
        axes.legend(fontsize=7, frameon=False, ncols=2 if axes is left else 1)
    picture.savefig(path, dpi=110)


def main() -> None:
    """Measure, then write JSON, Markdown and a figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    record = measure()
    (options.out / "kinetics_bias.json").write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", "utf-8")
    (options.out / "kinetics_bias.md").write_text(markdown(record), "utf-8")
    figure(record, options.out / "kinetics_bias.png")
    print(markdown(record))


if __name__ == "__main__":
    main()
