"""What enlarges pictures, beside the reference's recordings."""

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from server.services import Services
from server.tools import open_tools

from ..wire import recorded
from .served import serve


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    return with_folders(serve(tmp_path))


def with_folders(client: TestClient) -> TestClient:
    """The same with the tools of its folders."""
    app = cast(FastAPI, client.app)
    services: Services = app.state.services
    tools = open_tools(services.settings, services.library, services.options, services.sessions)
    app.state.services = replace(services, tools=tools)
    return client


def lay(folder: Path, *files: str) -> None:
    """Files below the models folder; the lists do not look into them."""
    for file in files:
        path = folder / "models" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.encode())


def test_upscalers_without_weights_are_listed_as_the_reference_lists_them(
    client: TestClient,
) -> None:
    listed = client.get("/sdapi/v1/upscalers").json()
    reference = recorded("get_upscalers")["response"]
    assert listed == reference[:3]
    assert [list(each) for each in listed] == [list(reference[0])] * 3


def test_published_files_are_listed_as_the_reference_lists_them(
    client: TestClient, tmp_path: Path
) -> None:
    reference = recorded("get_upscalers")["response"]
    files = {
        each["name"]: f"{folder}/{Path(each['model_path']).name}"
        for each in reference
        if each["model_path"] is not None
        for folder in _folders(each["name"])
    }
    lay(tmp_path, *files.values())
    listed = client.get("/sdapi/v1/upscalers").json()
    expected = [
        {**each, "model_path": str(tmp_path / "models" / files[each["name"]])}
        if each["name"] in files
        else each
        for each in reference
        if each["name"] != "LDSR"
    ]
    assert len(files) == 9
    assert listed == expected


def _folders(name: str) -> list[str]:
    begin = name.replace("_", " ").split()[0]
    return ["RealESRGAN" if begin == "R-ESRGAN" else begin]


def test_files_of_one_s_own_stand_among_them_by_name(client: TestClient, tmp_path: Path) -> None:
    lay(tmp_path, "ESRGAN/4x-UltraSharp.pth", "ESRGAN/sub/nmkd_2x.safetensors", "SwinIR/Best.pt")
    lay(tmp_path, "ESRGAN/notes.txt", "BSRGAN/BSRGAN.pth", "DAT/anime.pth")
    listed = client.get("/sdapi/v1/upscalers").json()
    assert [(each["name"], each["model_name"]) for each in listed[3:]] == [
        ("4x-UltraSharp", "ESRGAN_4x"),
        ("anime", None),
        ("Best", "SwinIR 4x"),
        ("BSRGAN", None),
        ("nmkd_2x", "ESRGAN_4x"),
    ]
    models = tmp_path / "models"
    assert listed[3]["model_path"] == str(models / "ESRGAN" / "4x-UltraSharp.pth")
    assert listed[7]["model_path"] == str(models / "ESRGAN" / "sub" / "nmkd_2x.safetensors")
    assert all(each["model_url"] is None for each in listed)
    assert {type(each["scale"]) for each in listed} == {float}


def test_every_list_has_the_same_names_and_follows_the_folders(
    client: TestClient, tmp_path: Path
) -> None:
    def lists() -> list[list[str]]:
        upscalers = [each["name"] for each in client.get("/sdapi/v1/upscalers").json()]
        page = {
            each["props"]["elem_id"]: each["props"]["choices"]
            for each in client.get("/config").json()["components"]
        }
        latent = [each["name"] for each in client.get("/sdapi/v1/latent-upscale-modes").json()]
        assert page["txt2img_hr_upscaler"][: len(latent)] == latent
        scripts = client.get("/sdapi/v1/script-info").json()
        sd_upscale = next(each for each in scripts if each["name"] == "sd upscale")
        return [
            upscalers,
            page["extras_upscaler_1"],
            page["extras_upscaler_2"],
            page["txt2img_hr_upscaler"][len(latent) :],
            sd_upscale["args"][2]["choices"],
        ]

    assert lists() == [["None", "Lanczos", "Nearest"]] * 5
    lay(tmp_path, "ESRGAN/Mine.pth")
    assert lists() == [["None", "Lanczos", "Nearest", "Mine"]] * 5
    (tmp_path / "models" / "ESRGAN" / "Mine.pth").unlink()
    assert lists() == [["None", "Lanczos", "Nearest"]] * 5


def test_latent_upscale_modes_are_the_references(client: TestClient) -> None:
    reference = recorded("get_latent_upscale_modes")["response"]
    assert client.get("/sdapi/v1/latent-upscale-modes").json() == reference
