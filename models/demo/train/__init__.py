"""Everything that made `darkroom-demo.safetensors`: `python -m models.demo.train --out FOLDER`."""

from ... import torchvision_ops as torchvision_ops  # before diffusers and transformers
