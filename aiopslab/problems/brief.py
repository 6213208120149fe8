"""What an agent is told at hand-over.

Opaque by construction: built from the app and the task alone, plus the page that the monitoring
sent; an incident's name or seed never enters.
"""

from __future__ import annotations

from typing import Any

from aiopslab.models.app import App
from aiopslab.models.observation import Brief, Budget
from aiopslab.models.task import Task
from aiopslab.models.timestamps import rfc3339

_INSTRUCTIONS: dict[Task, str] = {
    "detection": (
        "Decide whether something is wrong with the application right now. Look at telemetry and"
        " the cluster, change nothing, then call submit with anomaly and your confidence (the"
        " probability that your answer is right). Nothing may be wrong."
    ),
    "localization": (
        "Find the component in which the cause lies: a service, a store or a node, by its name in"
        " the tool `services` or `topology`. Change nothing. Submit up to five candidates with"
        " probabilities; what is left of 1 means 'something else'. Several causes at once each"
        " need a candidate of their own and share the probability. An empty list says that"
        " nothing is wrong."
    ),
    "diagnosis": (
        "Find the root cause: the component and the kind of cause from the vocabulary of the tool"
        " `cause_kinds`. Change nothing. Submit up to five hypotheses with probabilities; what is"
        " left of 1 means 'something else'. Cite the observation ids (obs-N) that support your"
        " first one. Several causes at once each need a hypothesis of their own and share the"
        " probability. An empty list says that nothing is wrong."
    ),
    "mitigation": (
        "Repair the application so that its users are served within the SLOs again and stay so."
        " You may change objects of the application's namespace and its stores. Keep the owners'"
        " intent: lose no data, delete no workload, remove no safeguard. You are judged by the"
        " state of the system after you call submit, with a summary and your confidence that it"
        " is healthy. If nothing is wrong, change nothing and say so."
    ),
}


def brief(
    app: App,
    task: Task,
    *,
    trial: str,
    now: float,
    page: str | None,
    context: str | None = None,
    budget: Budget,
    answer_schema: dict[str, Any],
) -> Brief:
    """Build the brief of one trial; a detection task gets no page.

    Context is what a run pushes to every agent alike (``tools.briefing``).
    """
    return Brief(
        trial=trial,
        task=task,
        instructions=_INSTRUCTIONS[task],
        app=app.title,
        namespace=app.namespace,
        app_summary=app.summary,
        now=rfc3339(now),
        alert=None if task == "detection" else page,
        context=context,
        budget=budget,
        answer_schema=answer_schema,
    )
