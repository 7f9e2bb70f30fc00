"""Pictures before and after the device: Pillow and numpy alone, no torch."""
