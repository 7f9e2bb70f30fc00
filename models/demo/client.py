"""The few calls that the demo's measures make to a server."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Picture = NDArray[np.uint8]
"""uint8 [H, W, 3]."""

SIZE, STEPS, SAMPLER, GUIDANCE = 128, 20, "Euler a", 5.0


class NoPicture(RuntimeError):
    """The server answered without a picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A server's `txt2img` and `img2img`, at the demo's native size unless the body says else.

    Raises `NoPicture`, and `urllib`'s own errors.
    """

    url: str
    timeout: float = 300.0

    def txt2img(self, prompt: str, seed: int, **more: Any) -> Picture:
        """The first picture of a prompt."""
        return self._ask("txt2img", {"prompt": prompt, "seed": seed, **more})

    def img2img(self, picture: Picture, prompt: str, seed: int, **more: Any) -> Picture:
        """The first picture made of another one; a `mask` is a picture too."""
        if "mask" in more:
            more["mask"] = encoded(more["mask"])
        return self._ask(
            "img2img", {"prompt": prompt, "seed": seed, "init_images": [encoded(picture)], **more}
        )

    def _ask(self, path: str, body: Mapping[str, Any]) -> Picture:
        usual = {
            "steps": STEPS,
            "width": SIZE,
            "height": SIZE,
            "cfg_scale": GUIDANCE,
            "sampler_name": SAMPLER,
        }
        request = Request(
            f"{self.url.rstrip('/')}/sdapi/v1/{path}",
            data=json.dumps(usual | dict(body)).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urlopen(request, timeout=self.timeout) as answer:
            images = json.load(answer).get("images")
        if not images:
            raise NoPicture(f"{request.full_url} gave no picture for {body['prompt']!r}")
        with Image.open(io.BytesIO(base64.b64decode(images[0]))) as image:
            return np.asarray(image.convert("RGB"))


def encoded(picture: Picture) -> str:
    """A picture as the API takes it: PNG in base64."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()
