"""The upscalers that need no weights have the wire's names, latent ones in its order."""

from pipelines.upscalers import LATENT_UPSCALERS, PIXEL_UPSCALERS


def test_names() -> None:
    assert list(LATENT_UPSCALERS) == [
        "Latent",
        "Latent (antialiased)",
        "Latent (bicubic)",
        "Latent (bicubic antialiased)",
        "Latent (nearest)",
        "Latent (nearest-exact)",
    ]
    assert list(PIXEL_UPSCALERS) == ["None", "Lanczos", "Nearest"]
