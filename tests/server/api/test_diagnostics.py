"""What the server tells of itself, before its device is there too, and without secrets."""

import json
import re
from pathlib import Path

from server.options import Options

from .served import serve

SECRET = "xyzzy"


def test_the_report_tells_what_helps_and_no_secrets(tmp_path: Path) -> None:
    client = serve(tmp_path, ["--api-auth", f"me:{SECRET}", "--port", "7999", "--xformers"])
    answer = client.get("/internal/sysinfo", auth=("me", SECRET))
    assert answer.headers["content-type"].startswith("text/plain")
    assert "content-disposition" not in answer.headers
    assert SECRET not in answer.text
    report = json.loads(answer.text)
    assert report["Version"] == "v1.10.1"
    assert report["Data path"] == str(tmp_path)
    assert report["Flags"]["port"] == 7999
    assert report["Without effect"] == ["--xformers"]
    assert report["Device"] == {"error": "the device is not ready yet"}
    assert report["Checkpoints"][0].startswith("darkroom-demo")
    assert report["Config"]["samples_format"] == "png"
    assert "list models" in report["Startup"]["records"]
    assert any(package.startswith("fastapi==") for package in report["Packages"])


def test_the_report_can_be_saved(tmp_path: Path) -> None:
    client = serve(tmp_path)
    for path in ("sysinfo-download", "sysinfo?attachment=true"):
        answer = client.get(f"/internal/{path}")
        name = r'attachment; filename="sysinfo-\d{4}-\d\d-\d\d-\d\d-\d\d\.json"'
        assert re.fullmatch(name, answer.headers["content-disposition"])
        assert json.loads(answer.text)["Jobs"] == 0


def test_both_versions_are_told(tmp_path: Path) -> None:
    told = serve(tmp_path).get("/internal/version").json()
    assert told.keys() == {"darkroom", "webui"}
    assert told["webui"] == "v1.10.1"


def test_the_start_is_told_stage_by_stage(tmp_path: Path) -> None:
    told = serve(tmp_path).get("/internal/profile-startup").json()
    assert list(told["records"]) == ["list models"]
    assert 0 < told["records"]["list models"] <= told["total"]


def test_every_setting_has_a_hint(tmp_path: Path) -> None:
    hints = serve(tmp_path).get("/internal/quicksettings-hint").json()
    keys = [key for key in Options.defaults().as_wire() if not key.endswith("_explanation")]
    assert [hint["name"] for hint in hints if hint["name"] in keys] == [
        key for key in keys if key in {hint["name"] for hint in hints}
    ]
    assert {"name": "sd_vae", "label": "Sd vae"} in hints
    assert {"name": "CLIP_stop_at_last_layers", "label": "Clip stop at last layers"} in hints
