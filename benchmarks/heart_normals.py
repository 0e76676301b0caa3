"""Normal limits of polar maps that come with nmsynth: simulated hearts without defects, by sex and way of imaging.

    python -m benchmarks.heart_normals --out src/nmsynth/recipes/normals --hearts 10

Ways of imaging are those of the task ``lowcount-mpi``: its camera with attenuation correction and without, and the
other camera of its proof with correction. Hearts have seeds that no dataset and no proof has. The limits are of scans
at full counts; each map is scaled in the part of the wall that is the best perfused in its image without noise, which
noise would make too bright. To save time the scan is :data:`LENGTH_MM` long instead of 205 mm and has :data:`VIEWS`
views of as many counts in all, which leaves the wall as it is: about 5 s of a CPU a heart and way. What is done is kept
in ``--scratch``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.heart_detection import camera_settings

from nmsynth.metrics.perfusion import NormalLimits, best_part
from nmsynth.metrics.polar_map import LongAxis, PolarMap, WallRays
from nmsynth.workflows.heart_simulation import HeartStudy
from nmsynth.workflows.jobs import run_jobs
from nmsynth.workflows.normal_limits import limits_document
from nmsynth.workflows.spect_settings import SimulateSpectSettings
from nmsynth.workflows.spect_simulation import scan_spect_study
from nmsynth.workflows.spect_subject import spect_subject

OTHER_CAMERA = "another"
HEARTS = 12
"""Of each sex and way of imaging; 10 are the least, and each costs about 5 s of a CPU."""
LENGTH_MM = 128.0
VIEWS = 30
"""Of a scan; each takes so much longer that the counts stay those of the protocol."""
FIRST_SEED = 810_000_000
SEXES = ("F", "M")


@dataclass(frozen=True, slots=True)
class Way:
    """A way of imaging."""

    camera: str
    corrected: bool
    changes: dict[str, Any]

    def name(self, sex: str) -> str:
        """Of the file of limits."""
        return f"sestamibi-{self.camera.lower()}-{'' if self.corrected else 'un'}corrected-{sex.lower()}"

    def settings(self, seed: int) -> SimulateSpectSettings:
        """Of the study of a heart without defects."""
        usual = SimulateSpectSettings(phantom="heart", **self.changes)
        changes = {
            **self.changes, "n_views": VIEWS, "seconds_per_view": usual.seconds_per_view * usual.n_views / VIEWS,
        }  # fmt: skip
        return SimulateSpectSettings(
            phantom="heart", seed=seed, heart=HeartStudy(n_defects=0), length_mm=LENGTH_MM,
            attenuation_correction=self.corrected, **changes,
        )  # fmt: skip


def ways() -> list[Way]:
    """Those of the task."""
    changes = camera_settings(OTHER_CAMERA)
    return [Way("LEHR", True, {}), Way("LEHR", False, {}), Way(str(changes["collimator"]), True, changes)]


def seeds_of(sex: str, count: int) -> Iterator[int]:
    """The first seeds whose patients are of a sex."""
    seed = FIRST_SEED
    while count:
        if spect_subject(ways()[0].settings(seed)).habitus["sex"] == sex:
            yield seed
            count -= 1
        seed += 1


@dataclass(frozen=True, slots=True)
class Job:
    """One heart, imaged in one way."""

    way: Way
    seed: int
    place: Path


def measure(job: Job) -> None:
    """Scan a heart, and keep its map and the best perfused part of it."""
    study = scan_spect_study(job.way.settings(job.seed))
    if study.segment_labels is None:
        raise ValueError("a heart has segments")
    wall, image = study.segment_labels > 0, study.scans[0]
    rays = WallRays.through(wall, image.affine, LongAxis.of(wall, image.affine))
    shown, free = rays.map_of(image.array), rays.map_of(study.noise_free.array)
    about = image.acquisition
    temporary = job.place.with_suffix(".partial.npz")
    np.savez(
        temporary, values=shown.values, height=shown.height, angle=shown.angle_deg, area=shown.area,
        free=free.values, stated=np.array([about.scanner or "", about.reconstruction or ""]),
    )  # fmt: skip
    temporary.rename(job.place)


def map_of(place: Path) -> tuple[PolarMap, np.ndarray, tuple[str, str]]:
    """Map of a heart, the best perfused part of its image without noise, and scanner and reconstruction."""
    kept = np.load(place)
    found = PolarMap(kept["values"], kept["height"], kept["angle"], kept["area"])
    scanner, reconstruction = (str(word) for word in kept["stated"])
    return found, best_part(replace(found, values=kept["free"])), (scanner, reconstruction)


def document(places: list[Path], sex: str, way: Way) -> dict[str, Any]:
    """The limits of some hearts."""
    found = [map_of(place) for place in places]
    scanner, reconstruction = found[0][2]
    return limits_document(
        NormalLimits.of([m for m, _, _ in found], [part for _, part, _ in found]),
        sexes={sex: len(found)}, attenuation_corrected=way.corrected, scanner=scanner, reconstruction=reconstruction,
        tracer="Tc-99m sestamibi", state="stress, ungated", simulated=True, licence="Apache-2.0",
        made_by=f"python -m benchmarks.heart_normals --hearts {len(found)}",
    )  # fmt: skip


def main() -> None:
    """Scan what is left, and write a file for each sex and way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hearts", type=int, default=HEARTS, help="Of each sex.")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scratch", type=Path, default=Path("runs/heart_normals"))
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.scratch.mkdir(parents=True, exist_ok=True)
    given.out.mkdir(parents=True, exist_ok=True)
    jobs = {
        way.name(sex): (way, sex, [Job(way, s, given.scratch / f"{way.name(sex)}-{s}.npz") for s in seeds])
        for sex, seeds in ((sex, list(seeds_of(sex, given.hearts))) for sex in SEXES)
        for way in ways()
    }
    left = [job for _, _, own in jobs.values() for job in own if not job.place.is_file()]
    run_jobs(measure, left, workers=given.workers)
    for name, (way, sex, own) in jobs.items():
        text = json.dumps(document([job.place for job in own], sex, way))
        (given.out / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
