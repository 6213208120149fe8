"""``search_incidents``: what the organisation wrote down about earlier incidents of this app.

Not here: the records and their ranking (``memory``), changes of the last hours (``history``).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from aiopslab.models.context_profile import ContextChoice
from aiopslab.models.past_incident import PastIncident
from aiopslab.tools.bm25 import Bm25
from aiopslab.tools.context import Paged, Result, ToolContext, ToolRefused, tool
from aiopslab.tools.embeddings import Embeddings
from aiopslab.tools.memory import IncidentMemory, MakeIndex


class SearchIncidentsArgs(Paged):
    """Arguments of ``search_incidents``."""

    query: str
    """Words to look for: alert names, components, what is seen."""
    limit: Annotated[int, Field(ge=1, le=10)] = 3
    """Write-ups at most."""


@tool(SearchIncidentsArgs)
async def search_incidents(context: ToolContext, args: SearchIncidentsArgs) -> Result:
    """Search write-ups of past incidents of this app, the best match first.

    They are as people left them: some are out of date or wrong.
    """
    if not args.query.strip():
        raise ToolRefused("the query is empty; give alert names, components or what is seen")
    memory = remembered(context)
    if not memory.records:
        return Result("no past incident of this app is written up", [], 0)
    found = memory.search(args.query, limit=args.limit)
    if not found:
        return Result("no write-up matches; try alert names or components", [], 0)
    # The schema of the file is the benchmark's own affair, and names it.
    data = [
        {
            **match.record.model_dump(mode="json", exclude={"schema_"}),
            "score": round(match.score, 4),
        }
        for match in found
    ]
    return Result("\n\n".join(write_up(match.record) for match in found), data, len(found))


def remembered(context: ToolContext) -> IncidentMemory:
    """Return the memory of the trial's app, read at the first question."""
    if context.memory is None:
        index = _index(context.choice)
        context.memory = IncidentMemory.load(context.env.app.name, index=index)
    return context.memory


def _index(choice: ContextChoice) -> MakeIndex:
    model, url = choice.embeddings, choice.embeddings_url
    if model is None:
        return Bm25
    return lambda texts: Embeddings(texts, model=model, base_url=url)


def write_up(record: PastIncident) -> str:
    """Print a record."""
    return "\n".join(
        [
            f"{record.id} {record.date} {record.title}",
            f"  seen: {'; '.join(record.symptoms)}",
            f"  touched: {', '.join(record.services)}",
            f"  {record.summary}",
            f"  cause: {record.cause} in {record.component}",
            f"  resolution: {record.resolution}",
        ]
    )


TOOLS = (search_incidents,)
