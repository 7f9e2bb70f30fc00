"""Everything that made `darkroom-demo.safetensors`: `python -m models.demo.train --out FOLDER`."""
