"""The settings that say how latents become pictures and pictures latents."""

from collections.abc import Mapping
from typing import get_args

from models.approx_files import ApproxFiles
from pipelines.plan import VaeMethod, VaeMethods

from .options import Options

FULL: VaeMethod = "Full"


def vae_methods(options: Options, files: ApproxFiles) -> tuple[VaeMethods, tuple[str, ...]]:
    """The methods to use, and what was asked for and is done by the VAE for want of weights.

    As in the reference, a name it does not know is the VAE, and so is encoding by all but TAESD.
    """
    decoding = {"TAESD": files.taesd_decoder, "Approx NN": files.network}
    encoding = {"TAESD": files.taesd_encoder}
    decode, lost = _method("sd_vae_decode_method", options.sd_vae_decode_method, decoding)
    encode, lost_too = _method("sd_vae_encode_method", options.sd_vae_encode_method, encoding)
    if encode != "TAESD":
        encode = FULL
    return VaeMethods(decode=decode, encode=encode), lost + lost_too


def _method(
    setting: str, name: str, weights: Mapping[str, object]
) -> tuple[VaeMethod, tuple[str, ...]]:
    method = next((each for each in get_args(VaeMethod) if each == name), FULL)
    if method in weights and weights[method] is None:
        return FULL, (f"no weights for {setting} {name!r}: used the VAE itself",)
    return method, ()
