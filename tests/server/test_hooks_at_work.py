"""An extension of one's own through the whole server: every moment, and a second picture."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray

from server import infotext
from server.app import create_app
from server.imagecodec import decode
from server.settings import parse

AGAIN = '''
"""Again: each picture beside one of another seed."""

from dataclasses import dataclass

from PIL import Image

from extensions.protocol import Extension, Hook, Touched, arg


@dataclass(frozen=True, slots=True, kw_only=True)
class Args:
    prompt: str = arg("", "In place of the prompt")
    seed: int = arg(-1, "Seed of the second picture")
    fail: str = arg("", "The moment to fail in")


class Again(Hook):
    def __init__(self, host, wanted, args):
        self.host, self.wanted, self.args, self.batches = host, wanted, args, []

    def _check(self, moment):
        if self.args.fail == moment:
            raise KeyError(moment)

    def before_job(self, wanted):
        self._check("before_job")
        return wanted.changed(prompt=self.args.prompt) if self.args.prompt else wanted

    def before_batch(self, number):
        self.batches.append(number)
        self._check("before_batch")

    def finish(self, image):
        self._check("finish")
        if self.args.seed < 0:
            return Touched(image, {"Batches": self.batches})
        again = self.wanted.changed(
            seed=self.args.seed, n_iter=1, batch_size=1, prompt=self.args.prompt or "a"
        )
        second = self.host.generate(again, {}).images[0]
        both = Image.new("RGB", (image.width * 2, image.height))
        both.paste(image, (0, 0))
        both.paste(second, (image.width, 0))
        return Touched(both, {"Again": self.args.seed})

    def after_batch(self, number, images):
        self._check("after_batch")
        return [image.resize((8, 8)) for image in images[:1]]


def begin(host, wanted, args):
    if args.fail == "begin":
        raise KeyError("begin")
    return Again(host, wanted, args)


EXTENSION = Extension(title="Again", modes=("txt2img", "img2img"), args=Args, begin=begin)
'''
SMALL = {"prompt": "a", "negative_prompt": "", "steps": 2, "width": 64, "height": 64, "seed": 5}
TXT2IMG = "/sdapi/v1/txt2img"


@pytest.fixture(scope="module")
def http(reference_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("again")
    (folder / "own").mkdir()
    (folder / "own" / "again.py").write_text(AGAIN)
    checkpoint = reference_models / "Stable-diffusion" / "tiny-sd15.safetensors"
    flags = ["--data-dir", str(folder / "data"), "--extensions-dir", str(folder / "own")]
    flags += ["--ckpt", str(checkpoint), "--use-cpu", "all", "--no-background-hashing"]
    with TestClient(create_app(parse(flags))) as served:
        yield served


def drawn(http: TestClient, args: object = None, **body: Any) -> dict[str, Any]:
    asked = {**SMALL, **body}
    if args is not None:
        asked["alwayson_scripts"] = {"again": {"args": args}}
    answer = http.post(TXT2IMG, json=asked)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def pixels(reply: dict[str, Any], index: int = 0) -> NDArray[np.int64]:
    return np.asarray(decode(reply["images"][index]).convert("RGB"), np.int64)


def alike(one: NDArray[np.int64], other: NDArray[np.int64]) -> bool:
    return bool(np.abs(one - other).max() <= 1)


def test_a_hook_draws_another_picture_within_the_job(http: TestClient) -> None:
    reply = drawn(http, ["", 9])
    both = pixels(reply)
    assert both.shape == (64, 128, 3)
    assert alike(both[:, :64], pixels(drawn(http)))
    assert alike(both[:, 64:], pixels(drawn(http, seed=9)))
    text = json.loads(reply["info"])["infotexts"][0]
    assert infotext.parse(text)["Again"] == "9"
    # the job's own seed and size
    assert infotext.parse(text)["Seed"] == "5"


def test_every_moment_comes_in_its_order(http: TestClient) -> None:
    reply = drawn(http, {"prompt": "b"}, n_iter=2)
    sizes = [decode(text).size for text in reply["images"]]
    assert sizes == [(64, 64), (64, 64), (8, 8), (8, 8)]
    info = json.loads(reply["info"])
    assert info["prompt"] == "b"
    assert info["extra_generation_params"]["Batches"] == "[0, 1]"
    plain = drawn(http, prompt="b", n_iter=2)
    assert alike(pixels(reply, 1), pixels(plain, 1))
    # as it was sent: what extensions change is told by `info`
    assert reply["parameters"]["prompt"] == "a"


@pytest.mark.parametrize("moment", ["begin", "before_job", "before_batch", "finish", "after_batch"])
def test_a_moment_that_fails_costs_no_picture(http: TestClient, moment: str) -> None:
    answer = http.post(
        TXT2IMG,
        json={**SMALL, "alwayson_scripts": {"again": {"args": {"fail": moment}}}},
    )
    reply = answer.json()
    assert alike(pixels(reply), pixels(drawn(http)))
    said = f"Again: KeyError: '{moment}'"
    assert said in answer.headers["x-darkroom-warning"]
    if moment in ("begin", "before_job", "finish"):
        told = json.loads(reply["info"])["extra_generation_params"]
        assert told["Extension warning"] == said
        assert (
            infotext.parse(json.loads(reply["info"])["infotexts"][0])["Extension warning"] == said
        )


def test_many_jobs_that_draw_again_do_not_wait_for_each_other_for_ever(http: TestClient) -> None:
    """More of them than there are threads for extensions."""
    threads = 8
    with ThreadPoolExecutor(threads) as pool:
        replies = list(pool.map(lambda seed: drawn(http, ["", seed], seed=seed), range(threads)))
    for seed, reply in enumerate(replies):
        both = pixels(reply)
        assert np.abs(both[:, :64] - both[:, 64:]).max() <= 1, seed


def test_it_is_listed_and_can_be_switched_off(http: TestClient) -> None:
    def listed() -> list[tuple[str, bool]]:
        found = http.get("/sdapi/v1/extensions").json()
        return [(each["name"], each["enabled"]) for each in found]

    assert listed() == [("Again", True)]
    http.post("/sdapi/v1/options", json={"disabled_extensions": ["again"]})
    try:
        assert listed() == [("Again", False)]
        body = {**SMALL, "alwayson_scripts": {"again": {"args": []}}}
        refused = http.post(TXT2IMG, json=body)
        assert (refused.status_code, refused.json()["detail"]) == (422, "Script 'again' not found")
        assert "again" not in http.get("/sdapi/v1/scripts").json()["txt2img"]
    finally:
        http.post("/sdapi/v1/options", json={"disabled_extensions": []})
    assert listed() == [("Again", True)]
