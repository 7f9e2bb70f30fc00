import pytest

from models.identify import identify

from .public import like, prefixed, sd3_shapes, stripped, text_shapes, unet_shapes, vae_shapes

BLOCK = "down_blocks.0.attentions.0.transformer_blocks.0.attn1"
MOTION = "down_blocks.0.motion_modules.0.temporal_transformer.transformer_blocks.0"


# The names are of public files; each is one line of many.
@pytest.mark.parametrize(
    ("names", "kind"),
    [
        ([f"lora_unet_{BLOCK.replace('.', '_')}_to_q.lora_down.weight"], "a LoRA"),
        (["lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_up.weight"], "a LoRA"),
        ([f"unet.{BLOCK}.to_q.lora_A.weight"], "a LoRA"),
        ([f"unet.{BLOCK}.to_q.lora.down.weight"], "a LoRA"),
        ([f"unet.{BLOCK}.processor.to_q_lora.down.weight"], "a LoRA"),
        (["transformer.single_transformer_blocks.0.attn.to_k.lora_B.weight"], "a LoRA"),
        (["transformer.transformer_blocks.0.attn.add_k_proj.lora_A.weight"], "a LoRA"),
        (["diffusion_model.double_blocks.0.img_attn.proj.lora_A.weight"], "a LoRA"),
        (["lora_unet_double_blocks_0_img_attn_proj.alpha"], "a LoRA"),
        (["lora_unet_mid_block_x.hada_w1_a", "lora_unet_mid_block_x.alpha"], "a LyCORIS network"),
        (["lora_unet_mid_block_x.lokr_w1", "lora_unet_mid_block_x.lokr_w2_a"], "a LyCORIS network"),
        (["lora_unet_mid_block_x.on_input", "lora_unet_y.weight"], "a LyCORIS network"),
        (["lora_unet_mid_block_x.diff", "lora_unet_mid_block_x.diff_b"], "a LyCORIS network"),
        (["lora_unet_mid_block_x.oft_blocks"], "a LyCORIS network"),
        (["emb_params"], "a textual inversion embedding"),
        (["clip_l", "clip_g"], "a textual inversion embedding"),
        (["string_to_param.*"], "a textual inversion embedding"),
        (["768.0.linear.0.weight"], "a hypernetwork"),
        (["control_model.time_embed.0.weight", "model.diffusion_model.x"], "a ControlNet"),
        (["controlnet_cond_embedding.conv_in.weight", "down_blocks.0.x"], "a ControlNet"),
        (["input_hint_block.0.weight", "input_blocks.0.0.weight"], "a ControlNet"),
        (["controlnet_blocks.0.weight", "transformer_blocks.0.x"], "a ControlNet"),
        (["lllite_unet_input_blocks_4_1.down.0.weight"], "a ControlNet"),
        (["adapter.body.0.resnets.0.block1.weight"], "a T2I adapter"),
        (["body.0.in_conv.weight", "conv_in.weight"], "a T2I adapter"),
        (["image_proj.proj.weight", "ip_adapter.1.to_k_ip.weight"], "an IP-Adapter"),
        (["ip_adapter.0.to_k_lora.down.weight"], "an IP-Adapter"),
        ([f"{MOTION}.attention_blocks.0.pos_encoder.pe"], "an AnimateDiff motion module"),
        (["id_encoder.visual_projection_2.weight"], "a PhotoMaker"),
        (["position_net.null_positive_feature"], "a GLIGEN"),
        (["double_blocks.0.img_attn.norm.key_norm.scale", "guidance_in.in_layer.bias"], "Flux dev"),
        (["model.diffusion_model.double_blocks.0.img_attn.proj.weight"], "Flux schnell"),
        (["single_transformer_blocks.0.attn.to_k.weight"], "Flux schnell"),
        (["distilled_guidance_layer.in_proj.bias", "double_blocks.0.img_attn.x"], "Chroma"),
        (["single_stream_modulation.lin.weight", "double_blocks.0.img_attn.x"], "Flux.2"),
        (["txt_in.individual_token_refiner.blocks.0.x", "double_blocks.0.x"], "HunyuanVideo"),
        (["clip_txt_mapper.weight", "down_blocks.0.0.x"], "Stable Cascade"),
        (["clip_mapper.weight", "down_blocks.1.0.channelwise.0.weight"], "Stable Cascade"),
        (["double_layers.0.attn.w1q.weight", "cond_seq_linear.weight"], "AuraFlow"),
        (["joint_transformer_blocks.0.attn.add_k_proj.weight"], "AuraFlow"),
        (["y_embedder.y_embedding", "blocks.0.cross_attn.kv_linear.weight"], "PixArt"),
        (["caption_projection.linear_1.weight", "adaln_single.linear.weight"], "PixArt"),
        (["cap_embedder.0.weight"], "Lumina"),
        (["blocks.0.cross_attn.q_linear.weight"], "Sana"),
        (["model.diffusion_model.patchify_proj.weight"], "LTX-Video"),
        (["model.diffusion_model.head.modulation"], "Wan"),
        (["blocks.0.attn.qkv_x.weight"], "Mochi"),
        (["transformer_blocks.0.attn.add_k_proj.weight", "txt_norm.weight"], "Qwen-Image"),
        (["double_stream_blocks.0.block.adaLN_modulation.1.bias"], "HiDream"),
        (["net.x_embedder.proj.1.weight"], "Cosmos"),
        (["mlp_t5.0.weight", "text_embedding_padding"], "HunyuanDiT"),
        (["conv_in.weight", "encoder_hid_proj.image_embeds.weight"], "Kandinsky"),
        (["conv_in.weight", "encoder_hid_proj.weight"], "DeepFloyd IF"),
        (["model.1.sub.0.RDB1.conv1.0.weight"], "an upscaler"),
        (["body.0.rdb1.conv1.weight", "conv_first.weight"], "an upscaler"),
        (["RRDB_trunk.0.RDB1.conv1.weight"], "an upscaler"),
        (["layers.0.residual_group.blocks.0.norm1.weight"], "an upscaler"),
        (["body.0.weight", "body.1.weight", "body.2.weight"], "an upscaler"),
        (["stylegan_decoder.style_convs.0.modulated_conv.weight"], "a face restorer"),
        (["decoder.layers.0.weight", "encoder.layers.0.weight"], "TAESD"),
        (["encoder.down.0.block.0.conv1.weight", "decoder.conv_in.weight"], "a VAE alone"),
        (["first_stage_model.decoder.conv_in.weight"], "a VAE alone"),
        (["vision_model.embeddings.class_embedding"], "an image encoder alone"),
        (["encoder.block.0.layer.0.SelfAttention.k.weight"], "a text encoder alone"),
        (["transformer.resblocks.0.attn.in_proj_weight"], "a text encoder alone"),
        (["text_encoders.t5xxl.transformer.encoder.block.0.layer.0.x"], "a file of no known kind"),
        (["model.layers.0.self_attn.q_proj.weight"], "a language model"),
        (["model_ema.diffusion_modelinput_blocks00weight"], "averaged weights alone"),
    ],
)
def test_what_is_no_checkpoint_is_named(names: list[str], kind: str) -> None:
    found = identify(like(names, (4, 4, 3, 3)))
    assert found.name == kind
    assert found.reason
    assert found.family is None


def test_a_vector_of_a_text_encoders_width_is_an_embedding() -> None:
    assert identify(stripped({"<cat>": (768,)})).name == "a textual inversion embedding"
    assert identify(stripped({"<cat>": (77,)})).name == "a file of no known kind"


@pytest.mark.parametrize(
    ("kind", "name"),
    [("sd1", "SD1"), ("sd2", "SD2"), ("sdxl", "SDXL"), ("refiner", "SDXL refiner")],
)
def test_a_unet_alone_is_named_with_its_family(kind: str, name: str) -> None:
    found = identify(stripped(unet_shapes(kind)))
    assert (found.name, found.layout) == (f"a UNet alone ({name})", "diffusers")
    assert found.reason == "its names begin with '' instead of 'unet.'"


def test_the_other_parts_alone_are_named() -> None:
    assert identify(stripped(vae_shapes())).name == "a VAE alone"
    assert identify(stripped(prefixed("vae.", vae_shapes()))).name == "a VAE alone"
    assert identify(stripped(text_shapes(768, 12))).name == "a text encoder alone"
    assert identify(stripped(text_shapes(1280, 32, projected=True))).name == "a text encoder alone"


@pytest.mark.parametrize(
    ("large", "doubled", "name"),
    [(False, 0, "SD3 medium"), (False, 13, "SD3.5 medium"), (True, 0, "SD3.5 large")],
)
@pytest.mark.parametrize("prefix", ["", "transformer."])
def test_stable_diffusion_3_is_known_in_diffusers_names(
    large: bool, doubled: int, name: str, prefix: str
) -> None:
    found = identify(stripped(prefixed(prefix, sd3_shapes(large=large, doubled=doubled))))
    assert (found.name, found.family) == (name, "SD3")


@pytest.mark.parametrize(
    ("width", "kind"), [(64, "Flux dev"), (384, "Flux Fill"), (128, "Flux Depth or Canny")]
)
def test_flux_tools_differ_in_what_they_are_shown(width: int, kind: str) -> None:
    shapes = {
        "img_in.weight": (3072, width),
        "guidance_in.in_layer.bias": (3072,),
        "double_blocks.0.img_mod.lin.bias": (18432,),
    }
    assert identify(stripped(shapes)).name == kind
