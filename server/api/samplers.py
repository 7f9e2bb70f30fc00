"""What pictures can be sampled with: `GET /sdapi/v1/samplers` and `/schedulers`."""

from fastapi import APIRouter

from pipelines.samplers import SAMPLERS
from pipelines.schedules import SCHEDULES

from ..schemas.catalog import SamplerItem, SchedulerItem

router = APIRouter()


@router.get("/sdapi/v1/samplers", response_model=list[SamplerItem])
async def get_samplers() -> list[SamplerItem]:
    """Every sampler, with its traits as text."""
    return [
        SamplerItem(
            name=sampler.name,
            aliases=list(sampler.aliases),
            options={trait: str(value) for trait, value in sampler.options.items()},
        )
        for sampler in SAMPLERS
    ]


@router.get("/sdapi/v1/schedulers", response_model=list[SchedulerItem])
async def get_schedulers() -> list[SchedulerItem]:
    """Every sigma schedule."""
    return [
        SchedulerItem(
            name=schedule.name,
            label=schedule.label,
            aliases=list(schedule.aliases) or None,
            default_rho=schedule.default_rho,
            need_inner_model=schedule.need_inner_model,
        )
        for schedule in SCHEDULES
    ]
