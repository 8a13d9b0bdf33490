"""Questions on states of machines, of the parameters that they are asked with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from central.reports.asked import Asked, Text, given_filters, with_filters
from central.reports.dimensions import BUCKETS
from central.reports.kpis import KPIS_OF_STATES, MEASURES_OF_STATES
from central.reports.question import (
    GROUPS_MAX,
    Question,
    filters,
    names,
    one_name,
    orders,
    window,
)
from central.reports.states import DIMENSIONS_OF_STATES, FIGURES_OF_STATES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from central.reports.presets import Preset

#: Where nothing is named.
OF_TIMELINE: Final = "Each time that a machine was in a state, in the order of time"
_BEGIN: Final = "First business day of each site, or an instant; inclusive. It has to be given."
_END: Final = "The same; exclusive; at most 400 days later, by the hour 31. It has to be given."


class _Timeline(Asked):
    start: Text | None = Field(
        None, alias="from", examples=["2026-11-01"], description=_BEGIN
    )  # fmt: skip
    end: Text | None = Field(None, alias="to", examples=["2026-11-08"], description=_END)


class _States(_Timeline):
    group_by: Text = Field(
        "", description=f"Of {', '.join(DIMENSIONS_OF_STATES)}; parted by commas."
    )
    bucket: Text | None = Field(None, description=f"One of {', '.join(BUCKETS)}.")
    measures: Text = Field("", description=f"Of {', '.join(FIGURES_OF_STATES)}; parted by commas.")
    sort: Text = Field("", description="Columns of the answer, `-` before one to go down.")
    share_of: Text | None = Field(None, description="Adds share and cum_share of this measure.")


STATES: Final = with_filters(_States, DIMENSIONS_OF_STATES, DIMENSIONS_OF_STATES)
TIMELINE: Final = with_filters(_Timeline, DIMENSIONS_OF_STATES, DIMENSIONS_OF_STATES)


def states_question(preset: Preset, asked: Any, sites: tuple[str, ...]) -> Question:
    """Return the question that a preset is with what was asked for; raise BadQuestion."""
    own = names("measures", asked.measures, FIGURES_OF_STATES)
    groups = names("group_by", asked.group_by, DIMENSIONS_OF_STATES, most=GROUPS_MAX)
    measures = own or preset.measures
    adding = [name for name in measures if name in MEASURES_OF_STATES]
    is_usual = not (own or groups)  # then what the preset sorts by is there
    question = Question(
        **_plain(asked, sites), measures=measures,
        group_by=groups or preset.group_by, bucket=one_name("bucket", asked.bucket, BUCKETS),
        share_of=one_name("share_of", asked.share_of, adding),
    )  # fmt: skip
    return question.sorted(orders(asked.sort or (is_usual and preset.sort) or "", question.columns))


def timeline_question(asked: Any, sites: tuple[str, ...]) -> Question:
    """Return the question of a list of states; raise BadQuestion."""
    return Question(**_plain(asked, sites), measures=())


def _plain(asked: Any, sites: tuple[str, ...]) -> Mapping[str, Any]:
    return {
        "sites": sites, "window": window(asked.start, asked.end), "by": asked.by,
        "filters": filters(given_filters(asked), DIMENSIONS_OF_STATES), "limit": asked.limit,
        "is_of_states": True,
    }  # fmt: skip


def told(preset: Preset) -> str:
    """Return what a report on states says of itself."""
    figures = [
        f"`{each.name}` = {each.formula} ({each.about}; {each.source})"
        for each in KPIS_OF_STATES.values()
    ]
    return (
        f"Shows {', '.join(preset.measures)} by {', '.join(preset.group_by)}; `measures` asks for"
        " others. A state holds from its event until the next one of the machine, as far as all"
        " that its site committed is known (`complete_through`); what is not known is in no state."
        f" {'. '.join(figures)}."
    )
