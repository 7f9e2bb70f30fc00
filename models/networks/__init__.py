"""Extra networks: LoRA and its kin, files that change a checkpoint's weights by a little."""
