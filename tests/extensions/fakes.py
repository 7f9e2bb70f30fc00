"""A host that draws without a model: pictures made from the fields of what is wanted."""

import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from PIL import Image

from extensions.binding import bind
from extensions.protocol import BadScriptArgs, Extension, Host, Missing
from extensions.wanted import Pictures, Wanted

NAMES = MappingProxyType(
    {
        "upscalers": ("None", "Lanczos", "Nearest"),
        "samplers": ("DPM++ 2M", "Euler a", "Euler"),
        "schedulers": ("Automatic", "Karras"),
        "checkpoints": ("first.safetensors", "second.safetensors"),
        "restorers": ("CodeFormer", "GFPGAN"),
        "vaes": ("one.vae.safetensors", "one.safetensors"),
    }
)
OPTIONS = MappingProxyType(
    {
        "grid_text_active_color": "#000000",
        "grid_text_inactive_color": "#999999",
        "grid_background_color": "#ffffff",
        "n_rows": -1,
        "grid_prevent_empty_spots": False,
        "grid_only_if_multiple": True,
        "return_grid": True,
        "img_max_size_mp": 200,
        "img2img_background_color": "#ffffff",
        "img2img_color_correction": False,
    }
)
_TXT2IMG: Mapping[str, Any] = MappingProxyType(
    {
        "prompt": "a cat",
        "negative_prompt": "",
        "styles": None,
        "seed": 7,
        "subseed": 3,
        "subseed_strength": 0,
        "sampler_name": "Euler",
        "scheduler": "Automatic",
        "batch_size": 1,
        "n_iter": 1,
        "steps": 4,
        "cfg_scale": 7.0,
        "width": 64,
        "height": 64,
        "restore_faces": None,
        "denoising_strength": None,
        "override_settings": None,
        "do_not_save_samples": True,
        "do_not_save_grid": True,
        "eta": None,
    }
)
_IMG2IMG: Mapping[str, Any] = MappingProxyType(
    {
        "denoising_strength": 0.5,
        "init_images": (),
        "mask": None,
        "latent_mask": None,
        "mask_blur": None,
        "mask_blur_x": 4,
        "mask_blur_y": 4,
        "inpainting_fill": 0,
        "inpaint_full_res": True,
        "initial_noise_multiplier": None,
        "inversion": None,
        "color_reference": None,
    }
)


def text(**changes: object) -> Wanted:
    """A txt2img request."""
    return Wanted("txt2img", _TXT2IMG).changed(**changes)


def image(**changes: object) -> Wanted:
    """An img2img request on a picture of 64 x 64."""
    wanted = Wanted("img2img", MappingProxyType({**_TXT2IMG, **_IMG2IMG}))
    return wanted.changed(init_images=(picture("init"),), prompt="a cat").changed(**changes)


def picture(name: str, width: int = 64, height: int = 64) -> Image.Image:
    """A picture of one colour, which the name decides."""
    code = zlib.crc32(name.encode())
    return Image.new("RGB", (width, height), (code & 255, code >> 8 & 255, code >> 16 & 255))


def lent(**own: Any) -> dict[str, Any]:
    """The fields of a `Workshop` that lends nothing but room for sessions and plain resizing."""

    def resized(image: Image.Image, name: str, scale: float) -> Image.Image:
        return image.resize((int(image.width * scale), int(image.height * scale)))

    def nothing(*_: object) -> Any:
        raise Missing("there is nothing here")

    def beside(work: Callable[[], Any]) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(work())
        return done

    plain = {
        "options": OPTIONS,
        "names": NAMES,
        "folder": lambda kind: Path("/models") / kind,
        "weights": lambda kind: {},
        "session": lambda key, files, open: open(),
        "onnx": nothing,
        "faces": nothing,
        "upscale": resized,
        "restore": nothing,
        "beside": beside,
    }
    return {**plain, **own}


def _check(wanted: Wanted) -> None:
    if wanted.steps < 1:
        raise BadScriptArgs(f"steps {wanted.steps}: at least 1")


@dataclass(eq=False)
class FakeHost:
    """Remembers what it was asked; interrupts itself after `stop_after` generations."""

    options: dict[str, Any] = field(default_factory=lambda: dict(OPTIONS))
    stop_after: int = 10**9
    skip_at: int = -1
    wanted: list[Wanted] = field(default_factory=list)
    extra: list[dict[str, object]] = field(default_factory=list)
    expected: list[int] = field(default_factory=list)

    def run(self, extension: Extension, wanted: Wanted, *args: object, **named: object) -> Pictures:
        """Run a script with arguments by place or by name."""
        assert extension.run is not None
        return extension.run(self.host(), wanted, bind(extension, named or args))

    def host(self) -> Host:
        """The fake as a script sees it."""
        return Host(
            **lent(options=self.options),
            expect=self.expected.append,
            check=_check,
            generate=self.generate,
            describe=lambda drawn, extra: f"{drawn.infotexts[0]} {dict(extra)}",
            stopped=lambda: len(self.wanted) >= self.stop_after,
            skipped=lambda: len(self.wanted) - 1 == self.skip_at,
            find_checkpoint=lambda name: next((n for n in NAMES["checkpoints"] if name in n), None),
        )

    def generate(self, wanted: Wanted, extra: Mapping[str, object]) -> Pictures:
        """One picture an image, of a colour that prompt and seed decide."""
        self.wanted.append(wanted)
        self.extra.append(dict(extra))
        count = wanted.batch_size * wanted.n_iter
        prompts = wanted.prompt if isinstance(wanted.prompt, tuple) else (wanted.prompt,) * count
        negatives = wanted.negative_prompt
        if not isinstance(negatives, tuple):
            negatives = (negatives,) * len(prompts)
        if isinstance(wanted.prompt, str):
            prompts = prompts[:1] * len(negatives)
        first = wanted.seed if isinstance(wanted.seed, tuple) else (wanted.seed,)
        seeds = first if len(first) > 1 else tuple(first[0] + i for i in range(len(prompts)))
        texts = tuple(
            f"{prompt}|{negative}|{seed}|{wanted.steps}"
            for prompt, negative, seed in zip(prompts, negatives, seeds, strict=True)
        )
        return Pictures(
            images=tuple(picture(each, wanted.width, wanted.height) for each in texts),
            infotexts=texts,
            all_prompts=prompts,
            all_negative_prompts=negatives,
            seed=seeds[0],
            all_seeds=seeds,
            subseed=wanted.subseed,
            all_subseeds=tuple(wanted.subseed + i for i in range(len(prompts))),
            extra_generation_params={**extra, "Seen": len(self.wanted)},
            info={
                "width": wanted.width,
                "steps": wanted.steps,
                "denoising_strength": wanted.denoising_strength,
                "restore_faces": False,
                "sd_model_name": "first",
                "styles": [],
            },
        )
