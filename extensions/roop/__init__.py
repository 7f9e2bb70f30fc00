"""roop: the faces of a picture become the face of another one, by insightface's INSwapper."""

from ..protocol import Extension
from .args import Args
from .hook import begin
from .routes import ROUTES

EXTENSION = Extension(
    title="roop", modes=("txt2img", "img2img"), args=Args, begin=begin, routes=ROUTES
)
