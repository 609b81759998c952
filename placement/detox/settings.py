"""How a detox cycle is bounded, whatever its policy says."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from placement.schemas import DATASET_STATUS
from reploc.config import Settings

CountScope: TypeAlias = Literal["inventory", "targets"]


class DetoxSettings(Settings, frozen=True):
    """Bounds of a detox cycle (Dynamo paper, section 4.1)."""

    deletion_per_iteration: Annotated[
        float, Meta(description="A site's candidates are decided anew after this fraction of its quota.", gt=0, le=1)
    ] = 0.01
    count_scope: Annotated[
        CountScope, Meta(description="Copies count in the whole inventory, or only at target sites in the partition.")
    ] = "inventory"
    allow_last_copy: Annotated[
        tuple[str, ...], Meta(description="Statuses of datasets whose last copy may go; the plan lists what went so.")
    ] = ("deleted", "invalid", "deprecated")
    max_volume: Annotated[int, Meta(description="Bytes that one cycle deletes at most.", ge=0)] = 1_000_000_000_000_000
    max_fraction_of_site: Annotated[
        float,
        Meta(description="Of what a site holds of the partition, at most so much goes in a cycle.", gt=0, le=1),
    ] = 0.5
    max_files: Annotated[int, Meta(description="Files that one cycle deletes at most.", ge=0)] = 5_000_000
    max_plan_age_s: Annotated[float, Meta(description="An older plan is not applied.", gt=0)] = 3_600.0

    def __post_init__(self) -> None:
        known = DATASET_STATUS.categories.to_list()
        for status in self.allow_last_copy:
            if status not in known:
                raise ValueError(f"allow_last_copy has {status!r}; expected one of {', '.join(known)}")
