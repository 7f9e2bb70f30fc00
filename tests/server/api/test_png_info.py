"""`POST /sdapi/v1/png-info`."""

import base64
import io

from PIL import Image

from ..wire import DATA, Wire, recorded

PATH = "/sdapi/v1/png-info"


def test_reads_a_picture_of_the_reference(wire: Wire) -> None:
    image = base64.b64encode((DATA / "sampler__euler.0.png").read_bytes()).decode()
    answer = wire.client.post(PATH, json={"image": f"data:image/png;base64,{image}"}).json()
    reference = recorded("pnginfo_sampler__euler.0.png")["response"]
    assert (answer["info"], answer["parameters"]) == (reference["info"], reference["parameters"])
    assert answer["items"] == {"parameters": reference["info"]}


def test_a_picture_without_parameters(wire: Wire) -> None:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    image = base64.b64encode(file.getvalue()).decode()
    answer = wire.client.post(PATH, json={"image": image}).json()
    assert answer == recorded("err_pnginfo_no_meta")["response"]
