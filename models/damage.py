"""What readers of other people's files raise; torch-free."""

import struct
import zlib

from PIL import Image

PICTURE_DAMAGE = (
    OSError,
    ValueError,
    ArithmeticError,
    LookupError,
    TypeError,
    SyntaxError,
    EOFError,
    NotImplementedError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)
"""What Pillow's readers raise over a damaged or hostile picture."""
