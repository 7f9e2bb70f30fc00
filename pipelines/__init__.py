"""A plan becomes pixels: samplers, schedules, noise, conditioning, and the engine."""
