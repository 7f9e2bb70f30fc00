"""What a checkpoint is, from the names, shapes and metadata of its header alone; torch-free."""

from .folder import Folder, identify_folder, read_folder
from .identifying import beyond_any, identify
from .kind import Family, Kind, Layout, Prediction, Variant

__all__ = [
    "Family",
    "Folder",
    "Kind",
    "Layout",
    "Prediction",
    "Variant",
    "beyond_any",
    "identify",
    "identify_folder",
    "read_folder",
]
