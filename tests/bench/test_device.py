"""The table of a device, as far as a CPU shows it."""

from pathlib import Path

from tests.bench import __main__ as command
from tests.bench.report import Report


def test_without_a_gpu_it_says_so_and_measures_the_rest(tmp_path: Path) -> None:
    words = ["device", "--quick", "--images", "1", "--ways", "last,graphs,fused"]
    assert command.main([*words, "--out", str(tmp_path)]) == 0
    report = Report.read((tmp_path / "device.json").read_text())
    steps, pictures, profile = report.tables
    (row,) = steps.rows
    assert row.cells[:2] == ("tiny SD1", "1")
    assert row.cells[3:] == ("no GPU", "no GPU")
    assert float(row.cells[2].split()[0]) > 0
    assert row.cells[2].endswith("%]")
    assert pictures.rows[0].measured["img_s"][0] > 0
    assert any("convolution" in each.cells[0] for each in profile.rows)
    assert (tmp_path / "device-tiny SD1.profile.txt").exists()
