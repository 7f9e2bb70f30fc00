"""Whether other features do what they are for, each as shares of right pictures.

The server must know the demo's own files: see `FLAGS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from random import Random
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from . import DEMO_CHECKPOINT, EMBEDDING, INPAINTING_CHECKPOINT, LORA
from .client import SIZE, Client, Picture
from .judge import Verdict, frame, ground_of, judge, nearest_colours, silhouette
from .world.caption import plainly
from .world.polaroid import SIDE
from .world.single import VALENTINE, Subject, canonical, subjects
from .world.words import COLOURS, apart, with_article

Measure = Callable[[Client, int], Mapping[str, float]]
"""From a server and a number of questions to named shares in [0, 1]."""

FLAGS = tuple(
    word
    for flag, place in (
        ("--ckpt", DEMO_CHECKPOINT),
        ("--ckpt-dir", DEMO_CHECKPOINT.parent),
        ("--lora-dir", LORA.parent),
        ("--embeddings-dir", EMBEDDING.parent),
    )
    for word in (flag, str(place))
)
"""What a server is started with to be measured."""

FIRST_SEED = 3000

_HOLE = slice(SIZE // 8, SIZE - SIZE // 8)
_SEAM = 6
"""How many pixels along the hole's border are looked at."""


def caption(subject: Subject) -> str:
    """The plainest wording."""
    return plainly(with_article(f"{subject.foreground} {subject.shape}"), subject.background)


def negative(client: Client, count: int) -> dict[str, float]:
    """A ground that nothing was said about goes away when the negative prompt names it."""
    gone, kept = [], []
    for seed, subject in _asked(count, "negative prompt"):
        prompt = with_article(f"{subject.foreground} {subject.shape}")
        before = ground_of(client.txt2img(prompt, seed))
        after = client.txt2img(prompt, seed, negative_prompt=f"{before} background")
        gone.append(ground_of(after) != before)
        kept.append(judge(after, subject).foreground)
    return {"the named ground goes": fmean(gone), "the shape's colour stays": fmean(kept)}


def emphasis(client: Client, count: int) -> dict[str, float]:
    """A shape's share of the picture follows its weight."""
    grows, shrinks = [], []
    for seed, subject in _asked(count, "emphasis"):
        thing = f"{subject.foreground} {subject.shape}"
        prompts = [caption(subject).replace(thing, f"({thing}:{w})") for w in (0.6, 1, 1.4)]
        less, plain, more = (silhouette(client.txt2img(text, seed)).mean() for text in prompts)
        grows.append(more > 1.15 * plain)
        shrinks.append(less < 0.85 * plain)
    return {"larger at 1.4": fmean(grows), "smaller at 0.6": fmean(shrinks)}


def img2img(client: Client, count: int) -> dict[str, float]:
    """A drawn picture takes the prompt's colours at a high strength and stays as it is at a low."""
    taken, kept = [], []
    random = Random(5)
    for seed, subject in _asked(count, "img2img"):
        start = recoloured(subject, random)
        given = canonical(start).draw(SIZE)
        high = client.img2img(given, caption(subject), seed, denoising_strength=0.8)
        low = client.img2img(given, caption(subject), seed, denoising_strength=0.1)
        taken.append(judge(high, subject).both)
        kept.append(3 * distance(low, given) < distance(high, given))
    return {"the prompt's colours at 0.8": fmean(taken), "hardly changed at 0.1": fmean(kept)}


def inpainting(client: Client, count: int) -> dict[str, float]:
    """A new shape is drawn into a hole of a plain ground, and nothing else is touched."""
    drawn, untouched = [], []
    for seed, subject in _asked(count, "inpainting"):
        given = _grainy(subject.background)
        found = _filled(client, given, caption(subject), seed)
        drawn.append(judge(found, subject).both)
        untouched.append(bool((found == given)[~_hole()].all()))
    return {"both colours": fmean(drawn), "the rest untouched": fmean(untouched)}


def inpainting_variant(client: Client, count: int) -> dict[str, float]:
    """The model for inpainting fills a hole, and the ground goes on into it without a seam."""
    drawn, seamless = [], []
    settings = {"sd_model_checkpoint": INPAINTING_CHECKPOINT.stem}
    for seed, subject in _asked(count, "inpainting variant"):
        given = _grainy(subject.background)
        found = _filled(client, given, caption(subject), seed, override_settings=settings)
        drawn.append(judge(found, subject).foreground)
        ground = _share(found[_HOLE, _HOLE], _SEAM, subject.background)
        seamless.append(ground > 0.7)
    return {"the shape's colour": fmean(drawn), "the ground goes on": fmean(seamless)}


def hires(client: Client, count: int) -> dict[str, float]:
    """Twice the side by the hires fix."""
    verdicts: list[Verdict] = []
    body = {"enable_hr": True, "hr_scale": 2, "denoising_strength": 0.5, "hr_upscaler": "Latent"}
    for seed, subject in _asked(count, "hires fix"):
        verdicts.append(judge(client.txt2img(caption(subject), seed, **body), subject))
    return {
        "both colours at 256x256": fmean(v.both for v in verdicts),
        "shape at 256x256": fmean(v.shape for v in verdicts),
    }


def lora(client: Client, count: int) -> dict[str, float]:
    """The network frames in white what would have no frame."""
    framed, plain = [], []
    for seed, subject in _asked(count, "LoRA"):
        if "white" in (subject.background, subject.foreground):
            continue
        prompt = caption(subject)
        framed.append(_framed(client.txt2img(f"{prompt} <lora:{LORA.stem}:1>", seed)))
        plain.append(not _framed(client.txt2img(prompt, seed)))
    return {"a white frame with it": fmean(framed), "none without it": fmean(plain)}


def embedding(client: Client, count: int) -> dict[str, float]:
    """The learnt word alone means its picture."""
    verdicts = [
        judge(client.txt2img(EMBEDDING.stem, seed), VALENTINE)
        for seed, _ in _asked(count, "textual inversion")
    ]
    return {
        "the learnt colours": fmean(verdict.both for verdict in verdicts),
        "the learnt shape": fmean(verdict.shape for verdict in verdicts),
    }


MEASURES: Mapping[str, Measure] = {
    "negative prompt": negative,
    "emphasis": emphasis,
    "img2img": img2img,
    "inpainting": inpainting,
    "inpainting variant": inpainting_variant,
    "LoRA": lora,
    "textual inversion": embedding,
    "hires fix": hires,
}


def distance(first: Picture, second: Picture) -> float:
    """The mean difference of two pictures, in grey levels."""
    return float(np.abs(first.astype(np.float32) - second).mean())


def recoloured(subject: Subject, random: Random) -> Subject:
    """The same shape in two other colours."""
    names = list(COLOURS)
    while True:
        first, second = random.choice(names), random.choice(names)
        if apart(first, second) and not {first, second} & {subject.foreground, subject.background}:
            return Subject(shape=subject.shape, foreground=first, background=second)


def _hole() -> NDArray[np.bool_]:
    mask = np.zeros((SIZE, SIZE), dtype=np.bool_)
    mask[_HOLE, _HOLE] = True
    return mask


def _grainy(ground: str) -> Picture:
    """A plain ground with a grain too fine to be drawn again by chance."""
    grain = np.random.default_rng(0).integers(-4, 5, (SIZE, SIZE, 3))
    return np.clip(np.array(COLOURS[ground]) + grain, 0, 255).astype(np.uint8)


def _filled(client: Client, given: Picture, prompt: str, seed: int, **more: object) -> Picture:
    """A picture whose middle is repainted after a prompt."""
    mask = np.where(_hole()[..., None], 255, np.zeros_like(given)).astype(np.uint8)
    body = {"mask": mask, "mask_blur": 0, "denoising_strength": 1.0, "inpainting_fill": 1}
    return client.img2img(given, prompt, seed, **body, **more)


def _framed(picture: Picture) -> bool:
    """Whether the outermost pixels are white nearly all around."""
    return _share(picture, int(SIDE * SIZE) - 3, "white") > 0.8


def _share(picture: Picture, thick: int, colour: str) -> float:
    """How much of a picture's outermost pixels has a colour, in [0, 1]."""
    outermost = nearest_colours(picture)[frame(picture.shape, thick)]
    return float((outermost == list(COLOURS).index(colour)).mean())


def _asked(count: int, name: str) -> Iterable[tuple[int, Subject]]:
    """Subjects with their seeds, the same ones for the same count."""
    drawn = Random(77).sample(tuple(subjects()), count)
    pairs = [(FIRST_SEED + place, subject) for place, subject in enumerate(drawn)]
    return tqdm(pairs, desc=name, unit="question")
