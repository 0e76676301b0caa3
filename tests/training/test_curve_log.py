from nmsynth.training.curve_log import CurveLog


def test_log_goes_on_where_the_checkpoint_was(tmp_path):
    path = tmp_path / "log.csv"
    log = CurveLog(path, start=0)
    for step in (1, 2, 3):
        log.write({"step": step, "loss": step / 3})
    with path.open("a") as stream:
        stream.write("4,0.3")  # cut short by a kill
    log = CurveLog(path, start=2)
    log.write({"step": 3, "loss": 0.5})
    assert path.read_text().splitlines() == ["step,loss", "1,0.333333333", "2,0.666666667", "3,0.5"]
    CurveLog(path, start=0)
    assert not path.exists()
