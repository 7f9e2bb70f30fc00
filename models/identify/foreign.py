"""Files that are no checkpoint of the families known here, by marks in their names; torch-free."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..header import Header

NETWORK = "belongs in models/Lora, and in the prompt as <lora:NAME:1>"
EMBEDDING = "belongs in the embeddings folder, and in the prompt by its name"
AUTOENCODER = "belongs in models/VAE, and is chosen by the setting sd_vae"
UPSCALER = "belongs in models/ESRGAN, and is chosen as an upscaler"
ADD_ON = "an add-on to a checkpoint, not one"
PART = "one part of a model, not a whole checkpoint"
FAMILY = "of a family that is not supported"
OTHER = "no image model"


@dataclass(frozen=True, slots=True)
class Mark:
    """A kind, why it is not used, and texts of which any one in the file's names tells it.

    The names are searched as one text, each between line breaks: so "\\n" stands for a name's
    start or end.
    """

    name: str
    reason: str
    any_of: tuple[str, ...]


#: kinds that hold no UNet of their own, or none that counts
ADD_ONS: tuple[Mark, ...] = (
    Mark(
        "a ControlNet",
        ADD_ON,
        (
            "\ncontrol_model.",
            "controlnet_cond_embedding.",
            "input_hint_block.",
            "controlnet_down_blocks.",
            "controlnet_blocks.",
            "controlnet_x_embedder.",
            "\ncontrol_add_embedding.",
            "lllite_unet_",
        ),
    ),
    Mark("a T2I adapter", ADD_ON, ("\nadapter.body.", "\nbody.0.in_conv.", "\nbody.0.resnets.0.")),
    Mark("an IP-Adapter", ADD_ON, ("\nip_adapter.", "\nimage_proj.", "\nimage_proj_model.")),
    Mark("an AnimateDiff motion module", ADD_ON, ("motion_modules.",)),
    Mark("a PhotoMaker", ADD_ON, ("\nid_encoder.",)),
    Mark("a GLIGEN", ADD_ON, ("\nposition_net.null_positive_feature",)),
)
#: other families, narrow marks first; some of them have a UNet too
FAMILIES: tuple[Mark, ...] = (
    Mark("Flux.2", FAMILY, ("single_stream_modulation.lin.", "single_stream_modulation.linear.")),
    Mark("Chroma", FAMILY, ("distilled_guidance_layer.",)),
    Mark("HunyuanVideo", FAMILY, ("individual_token_refiner.",)),
    Mark(
        "Stable Cascade",
        FAMILY,
        ("clip_txt_mapper.", "\nclip_mapper.", ".clip_mapper.", ".channelwise.0."),
    ),
    Mark("AuraFlow", FAMILY, ("double_layers.0.attn.w1q.", "joint_transformer_blocks.")),
    Mark("HunyuanDiT", FAMILY, ("mlp_t5.0.", "text_embedding_padding")),
    Mark("Lumina", FAMILY, ("cap_embedder.",)),
    Mark("Sana", FAMILY, ("cross_attn.q_linear.", ".glumbconv.", "ff.conv_depth.")),
    Mark("LTX-Video", FAMILY, ("patchify_proj.",)),
    Mark("Wan", FAMILY, ("head.modulation\n", "condition_embedder.text_embedder.")),
    Mark("Mochi", FAMILY, (".attn.qkv_x.",)),
    Mark("Qwen-Image", FAMILY, ("txt_norm.weight",)),
    Mark("HiDream", FAMILY, ("double_stream_blocks.",)),
    Mark("Cosmos", FAMILY, ("\nnet.x_embedder.proj.",)),
    Mark(
        "PixArt",
        FAMILY,
        ("y_embedder.y_embedding", "caption_projection.y_embedding", "adaln_single.linear."),
    ),
    Mark("Kandinsky", FAMILY, ("encoder_hid_proj.image_embeds", "\nprd_embedding")),
    Mark("DeepFloyd IF", FAMILY, ("encoder_hid_proj.weight", "encoder_pooling.")),
)
#: parts, and what is none, told only where no UNet was found
PARTS: tuple[Mark, ...] = (
    Mark(
        "an upscaler",
        UPSCALER,
        (
            "RRDB_trunk.",
            ".RDB1.conv1.",
            ".rdb1.conv1.",
            "residual_group.blocks.",
            "\nbody.1.weight\n",
        ),
    ),
    Mark("a face restorer", OTHER, ("stylegan_decoder.", "\nquantize.embedding.weight")),
    Mark("TAESD", "a stand-in for a VAE; belongs in models/VAE-taesd", ("coder.layers.0.weight",)),
    Mark(
        "a VAE alone",
        AUTOENCODER,
        (
            "\nencoder.down.0.block.",
            "\ndecoder.up.0.block.",
            "\nfirst_stage_model.",
            "\nencoder.down_blocks.0.resnets.",
            "\ndecoder.up_blocks.0.resnets.",
            "\nvae.decoder.",
        ),
    ),
    Mark(
        "an image encoder alone", PART, ("vision_model.embeddings.", "visual.transformer.resblocks")
    ),
    Mark(
        "a text encoder alone",
        PART,
        (
            "text_model.embeddings.token_embedding.",
            "transformer.resblocks.0.",
            "encoder.block.0.layer.0.SelfAttention.",
            "\nembeddings.token_embedding.",
        ),
    ),
    Mark("a language model", OTHER, ("model.layers.0.self_attn.", "\ntransformer.h.0.")),
)
#: parts of a network's change, in kohya's, LyCORIS's and diffusers' words
_LYCORIS = re.compile(
    r"\.(hada_[wt][12](_[ab])?|lokr_[wt][12](_[ab])?|oft_(blocks|diag)|on_input|diff|diff_b"
    r"|[ab]_norm|w_norm|glora_.*)(\.weight|$)"
)
_LORA = re.compile(
    r"\.(lora_(down|up|mid|A|B)|lora\.(down|up)|lora_linear_layer\.(down|up)|to_[qkv]_lora\.\w+"
    r"|to_out_lora\.\w+|lora_magnitude_vector)(\.\w+)?(\.weight|$)|\.dora_scale$"
)
_SCALE = re.compile(r"^lora_\w+\.alpha$")
#: the usual widths of text encoders
_WIDTHS = (768, 1024, 1280)
_TERMS = frozenset({"emb_params", "clip_l", "clip_g", "t5xxl"})
_HYPERNETWORK = re.compile(r"(320|640|768|1024|1280)\.[01]\.linear")
_JOINT = re.compile(r"(.*?)joint_blocks\.(\d{1,3})\.x_block\.(attn2\.)?")
_PAIRED = re.compile(r"(.*?)transformer_blocks\.(\d{1,3})\.(attn2?)\.add_k_proj\.weight")
SD3_MEDIUM_BLOCKS = 24


def network(header: Header, *, has_unet: bool) -> Mark | None:
    """Tell a LoRA or its like. A UNet with a few such tensors besides is none."""
    lora, lycoris, scales = (
        sum(bool(pattern.search(name)) for name in header.tensors)
        for pattern in (_LORA, _LYCORIS, _SCALE)
    )
    parts = lora + lycoris + scales
    if not parts or (has_unet and 2 * parts <= len(header.tensors)):
        return None
    return Mark("a LyCORIS network" if lycoris > lora else "a LoRA", NETWORK, ())


def embedding(header: Header) -> Mark | None:
    """Tell a textual inversion, and a hypernetwork."""
    shapes = [entry.shape for entry in header.tensors.values()]
    lone = len(shapes) == 1 and 0 < len(shapes[0]) <= 2 and shapes[0][-1] in _WIDTHS
    named = any(name.startswith("string_to_param.") for name in header.tensors)
    if lone or named or set(header.tensors) <= _TERMS:
        return Mark("a textual inversion embedding", EMBEDDING, ())
    if any(_HYPERNETWORK.match(name) for name in header.tensors):
        return Mark("a hypernetwork", ADD_ON, ())
    return None


def first(header: Header, marks: tuple[Mark, ...]) -> Mark | None:
    """Return the first of `marks` that is in the names."""
    names = "\n".join(("", *header.tensors, ""))
    return next((mark for mark in marks if any(text in names for text in mark.any_of)), None)


def flux(header: Header) -> Mark | None:
    """Tell Flux, by the names of either layout, and which of its kinds."""
    names = "\n".join(("", *header.tensors, ""))
    if "single_transformer_blocks." not in names and "double_blocks." not in names:
        return None
    entries = ((n, e.shape) for n, e in header.tensors.items())
    width = next((s[1] for n, s in entries if n.endswith("img_in.weight") and len(s) == 2), 64)
    guided = "guidance_in." in names or "guidance_embedder." in names
    kinds: Mapping[int, str] = {384: "Flux Fill", 128: "Flux Depth or Canny"}
    return Mark(kinds.get(width, "Flux dev" if guided else "Flux schnell"), FAMILY, ())


def sd3(header: Header) -> str | None:
    """Tell Stable Diffusion 3 by its blocks of two streams, and which of its sizes."""
    found = [hit for name in header.tensors if (hit := _JOINT.match(name) or _PAIRED.match(name))]
    if not found:
        return None
    if max(int(hit[2]) for hit in found) >= SD3_MEDIUM_BLOCKS:
        return "SD3.5 large"
    doubled = any((hit[3] or "").startswith("attn2") for hit in found)
    doubled = doubled or any(".attn2.to_q." in name for name in header.tensors)
    return "SD3.5 medium" if doubled else "SD3 medium"
