"""`GET /sdapi/v1/face-restorers`: the names that requests and settings may give."""

from fastapi import APIRouter

from models.faces.files import RESTORERS

from ..schemas.tools import FaceRestorerItem

router = APIRouter()


@router.get("/sdapi/v1/face-restorers", response_model=list[FaceRestorerItem])
async def get_face_restorers() -> list[FaceRestorerItem]:
    """Both, with or without their weights: where these are missing, replies say so."""
    return [FaceRestorerItem(name=name) for name in RESTORERS]
