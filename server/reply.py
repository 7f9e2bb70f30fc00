"""A finished generation as the wire tells it: infotexts, the `info` JSON, encoded pictures."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.catalog import CheckpointInfo
from pipelines.plan import Txt2ImgPlan
from pipelines.samplers import find_sampler

from . import infotext
from .imagecodec import Encoding, encode, to_base64
from .options import Options
from .schemas.txt2img import Txt2ImgRequest
from .translate import Translated

if TYPE_CHECKING:
    from pipelines.generate import GeneratedImage

#: the release of the reference whose behaviour infotexts promise; clients compare it
COMPATIBLE_VERSION = "v1.10.1"


def describe(translated: Translated, checkpoint: CheckpointInfo, index: int) -> str:
    """The infotext of image `index`; `checkpoint` is the entry as it is after loading, hashed."""
    plan, options = translated.plan, translated.options
    seeds, sampler = plan.seeds, find_sampler(plan.sampler.name)
    varied = bool(seeds.subseed_strength)
    fields: dict[str, object] = {
        "Steps": plan.sampler.steps,
        "Sampler": sampler.name,
        "Schedule type": translated.schedule_label,
        "CFG scale": plan.guidance.scale,
        "Seed": seeds.seeds[index],
        "Size": f"{plan.width}x{plan.height}",
        "Model hash": checkpoint.short_hash if options.add_model_hash_to_info else None,
        "Model": checkpoint.stem if options.add_model_name_to_info else None,
        "Variation seed": seeds.subseeds[index] if varied else None,
        "Variation seed strength": seeds.subseed_strength if varied else None,
        "Seed resize from": "{}x{}".format(*seeds.resize_from) if seeds.resize_from else None,
        "Clip skip": plan.encoding.clip_skip if plan.encoding.clip_skip > 1 else None,
        "ENSD": seeds.eta_delta or None if sampler.uses_ensd else None,
        "RNG": seeds.source if seeds.source != "GPU" else None,
        **translated.extra,
        **_hires_prompts(plan, index),
        "Version": COMPATIBLE_VERSION if options.add_version_to_infotext else None,
    }
    return infotext.write(plan.prompts[index], plan.negative_prompts[index], fields)


def _hires_prompts(plan: Txt2ImgPlan, index: int) -> dict[str, object]:
    """The second pass's prompts where they are its own."""
    if plan.hires is None:
        return {}
    prompt, negative = plan.hires.prompts[index], plan.hires.negative_prompts[index]
    return {
        "Hires prompt": prompt if prompt != plan.prompts[index] else None,
        "Hires negative prompt": negative if negative != plan.negative_prompts[index] else None,
    }


def info(
    request: Txt2ImgRequest,
    translated: Translated,
    checkpoint: CheckpointInfo,
    infotexts: Sequence[str],
    timestamp: str,
) -> str:
    """The reply's `info`: JSON text, keys in the wire's order."""
    plan = translated.plan
    resize_width, resize_height = request.seed_resize_from_w, request.seed_resize_from_h
    content: Mapping[str, object] = {
        "prompt": plan.prompts[0],
        "all_prompts": plan.prompts,
        "negative_prompt": plan.negative_prompts[0],
        "all_negative_prompts": plan.negative_prompts,
        "seed": plan.seeds.seeds[0],
        "all_seeds": plan.seeds.seeds,
        "subseed": plan.seeds.subseeds[0],
        "all_subseeds": plan.seeds.subseeds,
        "subseed_strength": plan.seeds.subseed_strength,
        "width": plan.width,
        "height": plan.height,
        "sampler_name": plan.sampler.name,
        "cfg_scale": plan.guidance.scale,
        "steps": plan.sampler.steps,
        "batch_size": plan.batch_size,
        "restore_faces": False,
        "face_restoration_model": None,
        "sd_model_name": checkpoint.stem,
        "sd_model_hash": checkpoint.short_hash,
        "sd_vae_name": None,
        "sd_vae_hash": None,
        "seed_resize_from_w": resize_width,
        "seed_resize_from_h": resize_height,
        "denoising_strength": plan.hires.denoising if plan.hires else request.denoising_strength,
        "extra_generation_params": dict(translated.extra),
        "index_of_first_image": 0,
        "infotexts": infotexts,
        "styles": request.styles or [],
        "job_timestamp": timestamp,
        "clip_skip": translated.options.CLIP_stop_at_last_layers,
        "is_using_inpainting_conditioning": False,
        "version": COMPATIBLE_VERSION,
    }
    return json.dumps(content)


def encoded(
    images: "Sequence[GeneratedImage]", infotexts: Sequence[str], options: Options, writing: Options
) -> list[str]:
    """Each picture as base64 with its infotext inside, unless the job's `options` leave it out.

    The format is that of `writing`, the server's own options: the reference writes pictures after
    a job's overrides have ended.
    """
    encoding = Encoding(
        format=writing.samples_format, quality=writing.jpeg_quality, lossless=writing.webp_lossless
    )
    return [
        to_base64(
            encode(
                Image.fromarray(image.pixels), text if options.enable_pnginfo else None, encoding
            )
        )
        for image, text in zip(images, infotexts, strict=True)
    ]


def preview(pixels: NDArray[np.uint8], options: Options) -> str:
    """A live preview [N,H,W,3] as base64: the batch side by side, or its first picture."""
    shown = np.concatenate(list(pixels), axis=1) if options.show_progress_grid else pixels[0]
    encoding = Encoding(format=options.live_previews_image_format)
    return to_base64(encode(Image.fromarray(shown), None, encoding))


def headers(job_id: str, warnings: Sequence[str]) -> dict[str, str]:
    """The reply's own headers: the job's id, and what was asked for and not honoured."""
    told = {"X-Task-Id": _header_safe(job_id)}
    if warnings:
        told["X-Darkroom-Warning"] = _header_safe("; ".join(warnings))
    return told


def _header_safe(text: str) -> str:
    """Text that fits a header: printable ASCII, the rest escaped, and not endless."""
    return text.encode("unicode_escape").decode("ascii")[:1000]
