"""Noise of the simulator beside that of a real scan, and that which count reduction adds.

    python -m benchmarks.noise_realism --series ../shared/data/pet_wholebody_ge --out benchmarks/results/noise_realism

1. The reference protocol: COV in a 3 cm sphere at the deepest point of the liver of patients of 75 kg.
2. COV, correlation of neighbours, peak of the radial noise power spectrum and skewness in a homogeneous region; how
   variance follows the mean in the body. For the real series, in the region that is found in it; for the noise about
   T1 in the liver of simulated patients of the real one's size, by the reference sensitivity, at the counts that make
   the real COV, at the prompts that the real header states, and at fractions of these; for the noise that count
   reduction adds to the real series. Histograms of standardised voxels by their greatest distance from the real one.
3. The law of count reduction: variance times fraction over the source's, 1 expected; means; by axial sixths.
4. Targets, and whether they are met.

Without the series only the first is measured. Trend is removed from every region as a plane in three axes.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage, stats

from nmsynth import read
from nmsynth.core.volume import Volume
from nmsynth.data.protocols import BGO_WITH_SEPTA, in_the_middle_of_a_bed
from nmsynth.data.scan import ReferenceScan, scan_phantom
from nmsynth.data.scanned_phantom import ScannedPhantom
from nmsynth.data.simulation import planes_last
from nmsynth.metrics.homogeneous import find_homogeneous_sphere, grow_region
from nmsynth.metrics.regions import sphere_mask
from nmsynth.physics.attenuation import attenuation_factors
from nmsynth.physics.count_reduction import CountReducer, body_contour
from nmsynth.physics.phantom import LesionPlan, Organ, WholeBodySettings, whole_body_patient
from nmsynth.physics.projector import SliceProjector

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Spacing = tuple[float, float, float]

FRACTIONS = (0.25, 0.1, 0.05)
LAW_FRACTIONS = (1.0, 0.5, *FRACTIONS)
REFERENCE_SEEDS = range(9200, 9212)
MATCHED_SEEDS = range(9220, 9224)
N_REALISATIONS, N_REDUCED = 6, 12
MATCHED = ReferenceScan(
    voxel_mm=4.6875,
    plane_mm=3.27,
    field_mm=600.0,
    activity_per_mass_bq_kg=389e6 / 71.0,
    uptake_time_s=2711.0,
    duration_s=240.0,
    fwhm_mm=6.2,
    filter_fwhm_mm=4.5,
    axial_filter_fwhm_mm=0.0,
    axial_correlation=0.33,
)
"""As the real series' header states; its filters are not stated and follow from the correlation of its noise."""
HEADER = in_the_middle_of_a_bed(BGO_WITH_SEPTA)
"""The protocol that has the header's prompts."""
MATCHED_HABITUS = (1.63, 71.0, "M")
LAGS = (1, 2, 3)
_COLUMNS = (
    "COV",
    "shown",
    *(f"{axis} {lag}" for axis in ("axial", "y", "x") for lag in LAGS),
    "NPS peak [1/mm]",
    "skewness",
    "kurtosis",
    "histogram",
    "exponent",
)


def residual_of(image: Image, region: Mask) -> npt.NDArray[np.float64]:
    """The image in a region less a plane fitted in three axes, 0 elsewhere."""
    places = np.argwhere(region).astype(np.float64)
    design = np.c_[np.ones(len(places)), places - places.mean(0)]
    values = image[region].astype(np.float64)
    residual = np.zeros(image.shape)
    residual[region] = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
    return residual


def correlation(residual: npt.NDArray[np.float64], region: Mask, axis: int, lag: int) -> float:
    """Correlation of voxels of a region that lie ``lag`` apart along an axis."""
    n = residual.shape[axis]
    near, far = range(n - lag), range(lag, n)
    both = region.take(near, axis) & region.take(far, axis)
    product = (residual.take(near, axis) * residual.take(far, axis))[both].mean()
    return float(product / (residual[region] ** 2).mean())


def spectrum_peak(residual: npt.NDArray[np.float64], pixel_mm: float) -> float:
    """Frequency at which the radial mean of the in-plane noise power is greatest [1/mm]."""
    rows, columns = (slice(i.min(), i.max() + 1) for i in np.nonzero(np.abs(residual).max(0))[:2])
    window = residual[:, rows, columns]
    n = 64
    power = (np.abs(np.fft.fft2(window, s=(n, n))) ** 2).mean(0)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(n, pixel_mm), np.fft.fftfreq(n, pixel_mm), indexing="ij"))
    width = 2.0 / (n * pixel_mm)
    bins = np.round(frequency / width).astype(int)
    radial = np.bincount(bins.ravel(), power.ravel()) / np.maximum(np.bincount(bins.ravel()), 1)
    return float(np.argmax(radial[: int(0.5 / pixel_mm / width) + 1]) * width)


def fine_variance(image: Image) -> npt.NDArray[np.float64]:
    """Square of the second differences along all axes: local variance of noise, to which anatomy adds little."""
    difference = image.astype(np.float64)
    for axis in range(3):
        difference = ndimage.convolve1d(difference, [-0.5, 1.0, -0.5], axis=axis)
    return difference**2


def variance_exponent(noisy: Image, level: Image, body: Mask, spacing_mm: Spacing) -> float:
    """Slope of log variance over log mean, over twelve quantiles of the 15 mm mean in the body."""
    mean = ndimage.gaussian_filter(level.astype(np.float64), [15.0 / 2.3548 / s for s in spacing_mm])
    inside = ndimage.binary_erosion(body, iterations=3) & (mean > 0)
    variance = fine_variance(noisy)
    edges = np.quantile(mean[inside], np.linspace(0.1, 0.98, 13))
    groups = [inside & (mean >= a) & (mean < b) for a, b in itertools.pairwise(edges)]
    points = [(np.log(mean[g].mean()), np.log(variance[g].mean())) for g in groups if g.sum() > 50]
    x, y = np.array(points).T
    return float(np.polyfit(x, y, 1)[0])


def texture(
    noisy: Image,
    region: Mask,
    spacing_mm: Spacing,
    *,
    level: Image | None = None,
    body: Mask,
    shown_noise: Image | None = None,
    wanted: npt.NDArray[np.float64] | None = None,
) -> dict[str, float]:
    """Every measure of one image, or of noise alone about the level of another.

    ``shown_noise`` is the image with its structure, whose COV is what a reader sees; ``wanted`` are the standardised
    voxels of another image, from whose distribution the distance is taken.
    """
    residual = residual_of(noisy, region)
    mean = float((noisy if level is None else level)[region].mean())
    values = residual[region]
    sd = float(values.std())
    lags = {
        f"{name} {lag}": correlation(residual, region, axis, lag)
        for axis, name in enumerate(("axial", "y", "x"))
        for lag in LAGS
    }
    shown = residual_of(noisy, region)[region] if shown_noise is None else residual_of(shown_noise, region)[region]
    return {
        "COV": sd / mean,
        "shown": float(shown.std()) / mean,
        **lags,
        "NPS peak [1/mm]": spectrum_peak(residual, spacing_mm[1]),
        "skewness": float((values**3).mean() / sd**3),
        "kurtosis": float((values**4).mean() / sd**4 - 3),
        "histogram": 0.0 if wanted is None else float(stats.ks_2samp(values / sd, wanted).statistic),
        "exponent": variance_exponent(noisy, noisy if level is None else level, body, spacing_mm),
    }


def mean_of(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean of each measure."""
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def liver_scan(
    seed: int, habitus: tuple[float, float, str], reference: ReferenceScan, half_mm: float, fractions: tuple[float, ...]
) -> ScannedPhantom:
    """Scan a patient of stated height [m], mass [kg] and sex about the deepest point of the liver."""
    height_m, mass_kg, sex = habitus
    bmi = mass_kg / height_m**2
    settings = WholeBodySettings(
        height_m=(height_m, height_m), bmi=(bmi, bmi), sex=sex, arms="up", injection_site_probability=0.0
    )
    patient = whole_body_patient(seed, lesions=LesionPlan(count=0), settings=settings)
    coarse = patient.render(patient.grid((8.0, 8.0, 8.0)))
    depth = ndimage.distance_transform_edt(coarse.labels == Organ.LIVER)
    middle = float(coarse.grid.axes()[0][np.unravel_index(depth.argmax(), depth.shape)[0]])
    return scan_phantom(
        patient.render, reference=reference, body_mass_kg=patient.body_mass_kg, height_m=height_m, sex=sex,
        z_range_mm=(middle - half_mm, middle + half_mm), fractions=fractions, seed=seed,
    )  # fmt: skip


def reference_protocol() -> dict[str, Any]:
    """COV of the liver by the reference protocol at 75 kg, as it shows and without what T1 shows."""
    patients = []
    for seed in REFERENCE_SEEDS:
        habitus = (1.66, 75.0, "F") if seed % 2 else (1.77, 75.0, "M")
        study = liver_scan(seed, habitus, ReferenceScan(), 28.0, (1.0,) * N_REALISATIONS)
        spacing = study.truth.spacing_mm
        depth = ndimage.distance_transform_edt(np.pad(study.organ_labels == Organ.LIVER, 1), spacing)[1:-1, 1:-1, 1:-1]
        sphere = sphere_mask(
            depth.shape, spacing, centre_index=np.unravel_index(depth.argmax(), depth.shape), diameter_mm=30.0
        )
        t1 = study.noise_free.array
        shown = [float(v.array[sphere].std() / v.array[sphere].mean()) for v in study.scans]
        noise = [float((v.array - t1)[sphere].std() / t1[sphere].mean()) for v in study.scans]
        patients.append({"seed": seed, "shown": float(np.mean(shown)), "noise": float(np.mean(noise))})
    covs = np.array([p["shown"] for p in patients])
    return {
        "patients": patients,
        "mean": float(covs.mean()),
        "least": float(covs.min()),
        "most": float(covs.max()),
        "noise alone": float(np.mean([p["noise"] for p in patients])),
    }


def region_of(image: Image, spacing_mm: Spacing) -> tuple[Mask, Mask]:
    """Body and homogeneous region, found as in every scan without masks."""
    body = body_contour(image, spacing_mm)
    sphere = find_homogeneous_sphere(image, spacing_mm, body)
    if sphere is None:
        raise SystemExit("No homogeneous sphere was found in the series.")
    return body, grow_region(image, spacing_mm, sphere, body)


def simulated_textures(
    wanted_cov: float, wanted: npt.NDArray[np.float64]
) -> tuple[dict[str, dict[str, float]], list[dict[str, float]], float]:
    """Noise of simulated patients by the matched protocol, at its counts, and about those that make the wanted COV.

    Also every patient at the header's prompts, and the mean of these prompts.
    """
    rows: dict[str, list[dict[str, float]]] = {}
    share, prompts = 0.0, []
    by_header = ("header's prompts", *(f"header's prompts, {f:g} of its counts" for f in FRACTIONS))
    by_cov = ("same COV", *(f"same COV, {f:g} of its counts" for f in FRACTIONS))
    for seed in MATCHED_SEEDS:
        for names in (("reference sensitivity",), by_cov, by_header):
            scale = share if names is by_cov else 1.0
            fractions = (1.0,) if len(names) == 1 else (scale, *(scale * f for f in FRACTIONS))
            study = liver_scan(seed, MATCHED_HABITUS, HEADER if names is by_header else MATCHED, 90.0, fractions)
            t1, spacing = study.noise_free.array, study.truth.spacing_mm
            body = body_contour(t1, spacing)
            region = ndimage.binary_erosion(study.organ_labels == Organ.LIVER, iterations=2)
            for name, scan in zip(names, study.scans, strict=True):
                rows.setdefault(f"simulator, {name}", []).append(
                    texture(
                        scan.array - t1, region, spacing, level=t1, body=body, shown_noise=scan.array, wanted=wanted
                    )
                )
            if len(names) == 1:
                share = (rows["simulator, reference sensitivity"][-1]["COV"] / wanted_cov) ** 2
            if names is by_header:
                prompts.append(prompts_of(study, region))
    patients = rows["simulator, header's prompts"]
    return {name: mean_of(found) for name, found in rows.items()}, patients, float(np.mean(prompts))


def prompts_of(study: ScannedPhantom, region: Mask) -> float:
    """Mean prompts in a plane of the region, from the true activity on the grid of the reconstruction."""
    planes = np.flatnonzero(region.any((1, 2)))
    scanner, protocol, osem = study.draw.scanner, study.draw.protocol, study.draw.osem
    projector = SliceProjector(osem.n_pixels, osem.pixel_mm, scanner.geometry)
    activity, mu_map = (planes_last(np.ascontiguousarray(a[planes])) for a in (study.truth.array, study.mu_map))
    lines = float((projector.forward(activity) * attenuation_factors(mu_map, projector)).sum()) / len(planes)
    volume = scanner.geometry.bin_mm * scanner.plane_mm / 1000.0 / scanner.geometry.n_views
    trues = lines * volume * scanner.sensitivity * protocol.duration_s * protocol.mean_decay
    shares = (scanner.scatter_fraction, scanner.randoms_fraction)
    return trues * (1 + sum(share / (1 - share) for share in shares))


def reduced(
    image: Image, spacing_mm: Spacing, body: Mask, region: Mask, wanted: npt.NDArray[np.float64]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Texture of the noise that is added at each fraction, and the law of means and variances."""
    reducer = CountReducer(image, spacing_mm, region)
    own = residual_of(image, region)[region].var()
    textures, laws = {}, []
    for fraction in LAW_FRACTIONS:
        scans = [reducer.reduce(fraction, torch.Generator().manual_seed(s)) for s in range(N_REDUCED)]
        if fraction in FRACTIONS:
            added = [
                texture(s - image, region, spacing_mm, level=image, body=body, shown_noise=s, wanted=wanted)
                for s in scans
            ]
            textures[f"added to the real series at {fraction:g}"] = mean_of(added)
        total = np.mean([residual_of(s, region)[region].var() for s in scans])
        laws.append(
            {
                "fraction": fraction,
                "variance x fraction": float(total / own * fraction),
                "SD x root of fraction": float(np.sqrt(total / own * fraction)),
                "mean of body": float(np.mean([s[body].mean() for s in scans]) / image[body].mean()),
                "mean of region": float(np.mean([s[region].mean() for s in scans]) / image[region].mean()),
                "its standard error": float(
                    np.std([s[region].mean() for s in scans], ddof=1) / image[region].mean() / np.sqrt(N_REDUCED)
                ),
                "sum of image": float(np.mean([s.sum(dtype=np.float64) for s in scans]) / image.sum(dtype=np.float64)),
            }
        )
    half = reducer.reduce(0.5, torch.Generator().manual_seed(0)) - image
    ratio = fine_variance(half), fine_variance(image)
    inside = ndimage.binary_erosion(body, iterations=3)
    planes = np.array_split(np.flatnonzero(inside.any((1, 2))), 6)
    sixths = [float(np.median(ratio[0][p][inside[p]]) / np.median(ratio[1][p][inside[p]])) for p in planes]
    prompts = float(reducer.prompts_per_plane[region.any((1, 2))].mean())
    return {"textures": textures, "fine variance by sixths, feet first": sixths, "prompts": prompts}, laws


def stated_prompts(series: Path, source: Volume, region: Mask) -> float | None:
    """Mean of the prompts that the headers of the region's planes state."""
    import pydicom

    found = {}
    for path in sorted(series.iterdir()):
        if path.suffix == ".dcm":
            header = pydicom.dcmread(path, stop_before_pixels=True)
            if "PrimaryPromptsCountsAccumulated" in header:
                found[round(float(header.ImagePositionPatient[2]), 1)] = float(header.PrimaryPromptsCountsAccumulated)
    places = np.flatnonzero(region.any((1, 2)))
    heights = [round(float((source.affine @ (k, 0, 0, 1))[2]), 1) for k in places]
    values = [found[z] for z in heights if z in found]
    return float(np.mean(values)) if values else None


def targets(
    real: dict[str, float], found: dict[str, float], law: list[dict[str, Any]], less: dict[float, dict[str, float]]
) -> list[dict[str, Any]]:
    """Each target with what was found, for simulated patients at the header's prompts and for reduced counts."""
    rows: list[dict[str, Any]] = []

    def add(name: str, value: float, wanted: float, limit: float) -> None:
        """One target: a difference of at most ``limit``."""
        rows.append({"target": name, "found": value, "wanted": wanted, "limit": limit})

    add("liver COV as it shows, over the real", found["shown"] / real["COV"], 1.0, 0.2)
    add("noise alone, over the real COV", found["COV"] / real["COV"], 1.0, 0.2)
    for lag in LAGS:
        add(f"axial correlation at {lag}", found[f"axial {lag}"], real[f"axial {lag}"], 0.1)
        in_plane = [(row[f"y {lag}"] + row[f"x {lag}"]) / 2 for row in (found, real)]
        add(f"in-plane correlation at {lag}, mean of y and x", *in_plane, 0.1)
        for axis in ("y", "x"):
            add(f"correlation along {axis} at {lag}", found[f"{axis} {lag}"], real[f"{axis} {lag}"], 0.1)
    for fraction, row in less.items():
        add(f"simulator, COV x root of counts at {fraction:g}", row["COV"] / found["COV"] * fraction**0.5, 1.0, 0.1)
    for row in law:
        limit = 0.05 if row["fraction"] == 1 else 0.1
        add(f"real series, SD x root of counts at {row['fraction']:g}", row["SD x root of fraction"], 1.0, limit)
    return [{**row, "met": abs(row["found"] - row["wanted"]) <= row["limit"]} for row in rows]


def to_markdown(record: dict[str, Any]) -> str:
    """The tables."""
    protocol = record["reference protocol"]
    lines = [
        "## Reference protocol",
        "",
        f"Liver COV in a 3 cm sphere at 75 kg, {len(protocol['patients'])} patients, {N_REALISATIONS} scans each: "
        f"{protocol['mean']:.1%} (patients {protocol['least']:.1%} to {protocol['most']:.1%}); "
        f"noise alone {protocol['noise alone']:.1%}.",
    ]
    if "textures" in record:
        lines += ["", "## Texture", "", "| image | " + " | ".join(_COLUMNS) + " |", "|---" * (len(_COLUMNS) + 1) + "|"]
        for name, row in record["textures"].items():
            lines.append(f"| {name} | " + " | ".join(f"{row[c]:.3f}" for c in _COLUMNS) + " |")
        columns = list(record["law"][0])
        lines += ["", "## Law of count reduction", "", "| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
        lines += ["| " + " | ".join(f"{row[c]:.3f}" for c in columns) + " |" for row in record["law"]]
        sixths = ", ".join(f"{v:.2f}" for v in record["sixths"])
        lines += [
            "",
            f"Fine variance (median) added at 1/2 over the source's own, axial sixths of the body, z rising: {sixths}.",
        ]
        prompts = record["prompts per plane"]
        stated = "not stated" if prompts["stated"] is None else f"{prompts['stated']:.0f}"
        found = f"{prompts['found']:.0f} found from the noise, {stated} in the header"
        simulated = f"{prompts['simulated']:.0f} simulated by the protocol that is to have them"
        lines += ["", f"Prompts in a plane of the region: {found}, {simulated}."]
        patients = ", ".join(f"{row['shown']:.3f}" for row in record["patients at the header's prompts"])
        lines += ["", f"COV as it shows, of each simulated patient at the header's prompts: {patients}."]
        lines += ["", "## Targets", "", "| target | found | wanted | at most apart | met |", "|---" * 5 + "|"]
        for row in record["targets"]:
            met = "yes" if row["met"] else "**no**"
            lines.append(f"| {row['target']} | {row['found']:.3f} | {row['wanted']:.3f} | {row['limit']:g} | {met} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write ``noise_realism.json`` and ``noise_realism.md``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    record: dict[str, Any] = {"schema_version": 1, "reference protocol": reference_protocol()}
    if options.series is not None:
        source = read(options.series)
        image, spacing = np.asarray(source.array), source.spacing_mm
        body, region = region_of(image, spacing)
        real = texture(image, region, spacing, body=body)
        voxels = residual_of(image, region)[region]
        voxels = voxels / voxels.std()
        simulated, patients, prompts = simulated_textures(real["COV"], voxels)
        found, law = reduced(image, spacing, body, region, voxels)
        record["textures"] = {"real series": real, **simulated, **found["textures"]}
        record["law"], record["sixths"] = law, found["fine variance by sixths, feet first"]
        record["prompts per plane"] = {
            "found": found["prompts"],
            "stated": stated_prompts(options.series, source, region),
            "simulated": prompts,
        }
        record["patients at the header's prompts"] = patients
        at_header = simulated["simulator, header's prompts"]
        less = {f: simulated[f"simulator, header's prompts, {f:g} of its counts"] for f in FRACTIONS}
        record["targets"] = targets(real, at_header, law, less)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "noise_realism.json").write_text(json.dumps(record, indent=2) + "\n")
    (options.out / "noise_realism.md").write_text(to_markdown(record))


if __name__ == "__main__":
    main()
