"""The command line with its workflows replaced: what it passes on, prints, and exits with."""

import json
import subprocess
import sys
import types
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from nmsynth.apps.cli import terminal
from nmsynth.apps.cli.main import run
from nmsynth.core.errors import EnvelopeError, InputError, NumericalError, UnsafeInputError
from nmsynth.core.units import Unit
from nmsynth.io.nifti import write_nifti
from tests.helpers import make_volume


@pytest.fixture
def replace_workflow(monkeypatch):
    """Put a module with given functions in the place of a workflow."""

    def replace(name, **functions):
        module = types.ModuleType(f"nmsynth.workflows.{name}")
        for key, value in functions.items():
            setattr(module, key, value)
        monkeypatch.setitem(sys.modules, module.__name__, module)

    return replace


class Recorder:
    """Function that keeps what it was called with."""

    def __init__(self, result=None, error=None):
        self.result, self.error = result, error
        self.args, self.kwargs = (), {}

    def __call__(self, *args, **kwargs):
        self.args, self.kwargs = args, kwargs
        if self.error is not None:
            raise self.error
        return self.result


def synthesis(**fields):
    return SimpleNamespace(
        image=make_volume(warnings=("slices are uneven",)), flags=("outside",), record={"seed": 0}, **fields
    )


def test_synthesize_passes_every_option_on(replace_workflow, capsys):
    workflow = Recorder(synthesis())
    replace_workflow("synthesis", synthesize_study=workflow)
    words = "synthesize in out --model m --input ct=c.nii --significance high --seed 3 --device cpu --threads 2"
    assert (
        run([*words.split(), "--set", "precision=bf16", "--overwrite", "--series-uid", "1.2", "--modality", "PT"]) == 0
    )
    assert workflow.args == (Path("in"), Path("out"))
    assert workflow.kwargs["inputs"] == {"ct": Path("c.nii")}
    assert workflow.kwargs["settings"] == {
        "significance": "high",
        "seed": 3,
        "device": "cpu",
        "threads": 2,
        "precision": "bf16",
    }
    assert workflow.kwargs["overwrite"] is True
    assert workflow.kwargs["series_uid"] == "1.2"
    workflow.kwargs["progress"](1, 2)
    out = capsys.readouterr().out
    assert "Wrote out" in out
    assert "slices are uneven" in out


def test_options_not_given_are_left_to_the_workflow(replace_workflow):
    workflow = Recorder(synthesis())
    replace_workflow("synthesis", synthesize_study=workflow)
    assert run(["synthesize", "in", "out"]) == 0
    assert workflow.kwargs["settings"] == {}
    assert workflow.kwargs["model"] == "lowcount-pet"


def test_json_is_the_only_thing_on_stdout(replace_workflow, capsys):
    replace_workflow("synthesis", synthesize_study=Recorder(synthesis()))
    assert run(["synthesize", "in", "out", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"schema_version": 1, "output": "out", "seed": 0}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InputError("The path must exist."), 2),
        (EnvelopeError("Voxels must be smaller."), 3),
        (UnsafeInputError("Slices are missing."), 3),
        (NumericalError("NaN."), 1),
        (MemoryError(), 1),
        (RuntimeError("a surprise"), 1),
        (OSError(28, "No space left on device"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_an_error_is_one_line_and_its_status(replace_workflow, capsys, error, status):
    replace_workflow("synthesis", synthesize_study=Recorder(error=error))
    assert run(["synthesize", "in", "out"]) == status
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert captured.err.startswith("error: ")


def test_an_unexpected_error_hides_its_text_and_names_v(replace_workflow, capsys):
    replace_workflow("synthesis", synthesize_study=Recorder(error=RuntimeError("Doe^Jane")))
    run(["synthesize", "in", "out"])
    err = capsys.readouterr().err
    assert "Doe" not in err
    assert "-v" in err


def test_v_shows_the_traceback_wherever_it_stands(replace_workflow, capsys):
    replace_workflow("synthesis", synthesize_study=Recorder(error=RuntimeError("a surprise")))
    assert run(["synthesize", "in", "out", "-v"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_an_error_cannot_forge_lines(replace_workflow, capsys):
    replace_workflow("synthesis", synthesize_study=Recorder(error=InputError("bad \x1b[31m\nerror: forged")))
    run(["synthesize", "in", "out"])
    err = capsys.readouterr().err
    assert "\x1b" not in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("bogus", "bogus"),
        ("synthesize", "INPUT"),
        ("synthesize in out --nothing", "--nothing"),
        ("synthesize in out --threads 0", "--threads"),
        ("synthesize in out --significance extreme", "--significance"),
        ("synthesize in out --input ct", "--input must be NAME=PATH"),
        ("synthesize in out --input ct=a --input ct=b", "given twice"),
        ("synthesize in out --set seed", "key=value"),
        ("simulate pet out --from a --phantom nema", "one subject"),
        ("simulate pet out --labels a", "--label-kind"),
        ("simulate pet out --label-kind brain", "belong to --labels"),
        ("simulate pet out --count-fraction 2", "--count-fraction"),
        ("models show no-such-model", "no-such-model"),
        ("models show no/such/model", "does not exist"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(replace_workflow, capsys, words, found):
    replace_workflow("synthesis", synthesize_study=Recorder(synthesis()))
    assert run(words.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert found in captured.err


def test_a_group_without_a_command_shows_its_help(capsys):
    assert run(["models"]) == 2
    assert "verify" in "".join(capsys.readouterr())


def test_no_words_show_the_help(capsys):
    assert run([]) == 0
    out = capsys.readouterr().out
    for command in ("info", "simulate", "train", "synthesize", "evaluate", "report", "models", "demo"):
        assert command in out


def test_log_file_after_the_command(replace_workflow, tmp_path, capsys):
    replace_workflow("synthesis", synthesize_study=Recorder(error=InputError("The path must exist.")))
    log = tmp_path / "log.txt"
    assert run(["synthesize", "in", "out", "-q", "--log-file", str(log)]) == 2
    assert "The path must exist." in log.read_text()
    assert "The path must exist." in capsys.readouterr().err


def test_simulate_passes_its_options_on(monkeypatch, capsys):
    from nmsynth.workflows import pet_simulation

    workflow = Recorder({"schema_version": 1})
    monkeypatch.setattr(pet_simulation, "simulate_pet", workflow)
    words = "simulate pet out --from in --count-fraction 0.05 --lesions 3 --seed 4 --format nifti --overwrite --json"
    assert run(words.split()) == 0
    settings, output = workflow.args
    assert output == Path("out")
    assert workflow.kwargs["overwrite"] is True
    assert (settings.source, settings.count_fraction, settings.lesions, settings.seed) == (Path("in"), 0.05, 3, 4)
    assert settings.file_format == "nifti"
    assert json.loads(capsys.readouterr().out) == {"schema_version": 1}


def test_simulate_scans_the_whole_body_phantom_by_default(monkeypatch):
    from nmsynth.workflows import pet_simulation

    workflow = Recorder({})
    monkeypatch.setattr(pet_simulation, "simulate_pet", workflow)
    assert run(["simulate", "pet", "out"]) == 0
    assert workflow.args[0] == pet_simulation.SimulatePetSettings()


def test_train_passes_overrides_on(replace_workflow, capsys):
    workflow = Recorder(Path("runs/package"))
    replace_workflow("training", train_recipe=workflow, recipe_names=lambda: ["lowcount-pet"])
    assert run(["train", "lowcount-pet", "-o", "r", "--restart", "--set", "optimisation.steps=7"]) == 0
    assert workflow.args == ("lowcount-pet",)
    workflow.kwargs.pop("progress")("simulating", 0.5)
    assert workflow.kwargs == {
        "output": Path("r"),
        "data": None,
        "resume": False,
        "overrides": {"optimisation.steps": 7},
    }
    captured = capsys.readouterr()
    assert "package" in captured.out
    assert "simulating (50% of all)" in captured.err


def test_evaluate_prints_arms_side_by_side(tmp_path, capsys):
    from nmsynth.io.writing import write

    paths = {}
    for name, seed in (("prediction", 1), ("reference", 2), ("source", 3)):
        paths[name] = write(make_volume((8, 24, 24), seed=seed), tmp_path / f"{name}.nii.gz")
    words = ["evaluate", str(paths["prediction"]), str(paths["reference"]), "--source", str(paths["source"])]
    words += ["--reference-kind", "T1", "--set", "with_ssim=false"]
    assert run(words) == 0
    out = capsys.readouterr().out
    assert "NRMSE" in out
    assert "T1" in out
    assert run([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["schema_version"] == 1


def test_info_of_a_nifti_image(tmp_path, capsys):
    from nmsynth.io.writing import write

    path = write(make_volume(), tmp_path / "scan.nii.gz")
    assert run(["info", str(path)]) == 0
    out = capsys.readouterr().out
    assert "6 x 8 x 10" in out
    assert "3 x 4 x 5" in out


def test_info_of_a_dicom_series(shared_data, capsys):
    folder = min(path for path in (shared_data / "suv_dro").iterdir() if path.is_dir())
    assert run(["info", str(folder), "--json"]) == 0
    description = json.loads(capsys.readouterr().out)
    assert description["image"]["facts"]["modality"] == "PT"


def test_info_of_several_series_lists_them(shared_data, capsys):
    assert run(["info", str(shared_data / "suv_dro")]) == 0
    out = capsys.readouterr().out
    assert "verification 2_3" in out
    assert "DRO" not in out  # their PatientID
    assert "--series-uid" in out


def test_info_of_nothing_is_one_line(tmp_path, capsys):
    assert run(["info", str(tmp_path / "none")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_models_are_listed(capsys):
    assert run(["models", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["schema_version"] == 1
    shipped = next(model for model in listed["models"] if model["name"] == "lowcount-pet")
    assert (shipped["task"], shipped["licence"], len(shipped["sha256"])) == ("lowcount-pet", "Apache-2.0", 64)
    assert 1e6 < shipped["size_bytes"] < 3e6
    assert run(["models", "list"]) == 0
    assert "lowcount-pet" in capsys.readouterr().out


def test_a_closed_pipe_is_no_traceback():
    program = f"{sys.executable} -m nmsynth --help | true"
    done = subprocess.run(program, shell=True, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr


def _evaluation_files(tmp_path):
    """Two NIfTI images of one patient."""
    rng = np.random.default_rng(0)
    truth = np.zeros((12, 16, 16))
    truth[2:-2, 3:-3, 3:-3] = 2.0
    paths = []
    for name, array in (("prediction", truth + rng.normal(0, 0.1, truth.shape)), ("reference", truth)):
        paths.append(tmp_path / f"{name}.nii.gz")
        write_nifti(make_volume(array=array, spacing_mm=(4.0, 4.0, 4.0), unit=Unit.SUV_BODY_WEIGHT), paths[-1])
    return [str(path) for path in paths]


def test_evaluate_keeps_what_is_against_the_source_apart_and_prints_the_data_range(tmp_path, capsys):
    prediction, reference = _evaluation_files(tmp_path)
    assert run(["evaluate", prediction, reference, "--source", prediction, "--reference-kind", "T1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    found = [line.split("  ") for line in lines if line.strip().startswith("relative bias") and "automatic" in line]
    assert {word.strip() for line in found for word in line} >= {"T1", "source"}
    assert any("PSNR, data range 7" in line for line in lines)


def test_arms_that_do_not_fit_stand_in_a_table_of_their_own(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(terminal, "FILE_COLUMNS", 110)
    prediction, reference = _evaluation_files(tmp_path)
    assert run(["evaluate", prediction, reference, "--source", prediction]) == 0
    out = capsys.readouterr().out
    assert out.count("measure") >= 2
    assert all(len(line) <= 110 for line in out.splitlines())


def test_a_file_that_cannot_be_read_is_named_by_its_role(tmp_path, capsys):
    prediction, reference = _evaluation_files(tmp_path)
    Path(reference).with_name("reference.json").unlink()
    assert run(["evaluate", prediction, reference]) == 2
    assert "Reading the reference: A NIfTI image needs unit" in capsys.readouterr().err


def test_options_that_take_a_name_give_their_own_example(capsys):
    assert run(["evaluate", "a", "b", "--mask", "labels.nii.gz"]) == 2
    assert "--mask lesions=labels.nii.gz" in capsys.readouterr().err


def test_report_passes_its_options_on(replace_workflow, capsys):
    workflow = Recorder(Path("r.html"))
    replace_workflow("report", report_study=workflow)
    words = "report p r.html --source s --reference t --full-counts f --reference-kind T1 --mask lesions=l.nii"
    assert run([*words.split(), "--no-curves", "--resample", "--json"]) == 0
    assert workflow.kwargs["full_counts"] == Path("f")
    assert (workflow.kwargs["with_curves"], workflow.kwargs["resample"]) == (False, True)
    assert workflow.kwargs["masks"] == {"lesions": Path("l.nii")}
    assert json.loads(capsys.readouterr().out) == {"schema_version": 1, "report": "r.html"}


@pytest.mark.parametrize("words", ["models list", "models show lowcount-pet", "models verify lowcount-pet"])
def test_json_of_models_has_a_version(words, capsys):
    assert run([*words.split(), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["schema_version"] == 1


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from nmsynth.apps.cli.main import run; run(['--help']); "
        "print([n for n in ('torch','numpy','scipy','pydicom','matplotlib','SimpleITK') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
