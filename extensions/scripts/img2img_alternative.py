"""img2img alternative test: start from the noise that would have become the init picture."""

from dataclasses import dataclass

from ..limits import check_span, first_picture
from ..protocol import Extension, Host, arg
from ..wanted import Inversion, Pictures, Wanted

_NOTE = "* `CFG Scale` should be 2 or lower."


@dataclass(frozen=True, slots=True, kw_only=True)
class Args:
    """What a client may set, in the order of the wire; `note` is a text of the reference's page."""

    note: str = arg(_NOTE, "")
    override_sampler: bool = arg(
        True, "Override `Sampling method` to Euler?(this method is built for it)"
    )
    override_prompt: bool = arg(
        True, "Override `prompt` to the same value as `original prompt`?(and `negative prompt`)"
    )
    original_prompt: str = arg("", "Original prompt")
    original_negative_prompt: str = arg("", "Original negative prompt")
    override_steps: bool = arg(
        True, "Override `Sampling Steps` to the same value as `Decode steps`?"
    )
    st: int = arg(50, "Decode steps", minimum=1, maximum=150, step=1)
    override_strength: bool = arg(True, "Override `Denoising strength` to 1?")
    cfg: float = arg(1.0, "Decode CFG scale", minimum=0.0, maximum=15.0, step=0.1)
    randomness: float = arg(0.0, "Randomness", minimum=0.0, maximum=1.0, step=0.01)
    sigma_adjustment: bool = arg(False, "Sigma adjustment for finding noise for image")


def run(host: Host, wanted: Wanted, args: Args) -> Pictures:
    """Find the noise, and draw from it as the request says, but for what the arguments override."""
    check_span("st", args.st, 1, 1000)
    check_span("cfg", args.cfg, -1000, 1000)
    check_span("randomness", args.randomness, 0, 1)
    first_picture(wanted)
    if args.override_sampler:
        wanted = wanted.changed(sampler_name="Euler")
    if args.override_prompt:
        wanted = wanted.changed(
            prompt=args.original_prompt, negative_prompt=args.original_negative_prompt
        )
    if args.override_steps:
        wanted = wanted.changed(steps=args.st)
    if args.override_strength:
        wanted = wanted.changed(denoising_strength=1.0)
    inversion = Inversion(
        prompt=args.original_prompt,
        negative_prompt=args.original_negative_prompt,
        steps=args.st,
        cfg_scale=args.cfg,
        randomness=args.randomness,
        sigma_adjustment=args.sigma_adjustment,
    )
    params = {
        "Decode prompt": args.original_prompt,
        "Decode negative prompt": args.original_negative_prompt,
        "Decode CFG scale": args.cfg,
        "Decode steps": args.st,
        "Randomness": args.randomness,
        "Sigma Adjustment": args.sigma_adjustment,
    }
    return host.generate(wanted.changed(inversion=inversion), params)


EXTENSION = Extension(title="img2img alternative test", modes=("img2img",), args=Args, run=run)
