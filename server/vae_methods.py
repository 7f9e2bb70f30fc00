"""The settings that say how latents become pictures and pictures latents."""

from collections.abc import Mapping
from typing import get_args

from models.approx_files import Approximations
from pipelines.plan import VaeMethod, VaeMethods

from .options import Options

FULL: VaeMethod = "Full"


def vae_methods(options: Options, files: Approximations) -> tuple[VaeMethods, tuple[str, ...]]:
    """The methods to use, and what was asked for and is done by the VAE for want of weights.

    As in the reference, a name it does not know is the VAE, and so is encoding by all but TAESD.
    Weights for the latents of one family count: where another's are absent, its VAE is used.
    """
    kinds = files.values()
    decoding = {
        "TAESD": any(each.taesd_decoder for each in kinds),
        "Approx NN": any(each.network for each in kinds),
    }
    encoding = {"TAESD": any(each.taesd_encoder for each in kinds)}
    decode, lost = _method("sd_vae_decode_method", options.sd_vae_decode_method, decoding)
    encode, lost_too = _method("sd_vae_encode_method", options.sd_vae_encode_method, encoding)
    if encode != "TAESD":
        encode = FULL
    return VaeMethods(decode=decode, encode=encode), lost + lost_too


def _method(
    setting: str, name: str, weights: Mapping[str, bool]
) -> tuple[VaeMethod, tuple[str, ...]]:
    method = next((each for each in get_args(VaeMethod) if each == name), FULL)
    if not weights.get(method, True):
        return FULL, (f"no weights for {setting} {name!r}: used the VAE itself",)
    return method, ()
