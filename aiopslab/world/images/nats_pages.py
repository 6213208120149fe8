"""How the ``nats`` tool prints what the API answered: lists, streams, consumers, messages.

Layout and labels are those of natscli 0.2. Not here: arguments and the connection (``nats_tool``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from aiopslab.world.images.postgres_values import timestamp

Body = Mapping[str, Any]


def size(count: int) -> str:
    """Write bytes as the tool does.

    >>> size(512), size(1536), size(3 * 2**30)
    ('512 B', '1.5 KiB', '3.0 GiB')
    """
    if count < 1024:
        return f"{count} B"
    value, units = count / 1024.0, ["KiB", "MiB", "GiB", "TiB"]
    while value >= 1024.0 and len(units) > 1:
        value, units = value / 1024.0, units[1:]
    return f"{value:.1f} {units[0]}"


def duration(seconds: float) -> str:
    """Write seconds as ``1h2m3s`` or ``1.50s``.

    >>> duration(90), duration(1.5), duration(86400)
    ('1m30s', '1.50s', '1d0h0m0s')
    """
    if seconds < 60.0:
        return f"{seconds:.2f}s"
    whole = int(seconds)
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    text = f"{days}d" if days else ""
    text += f"{hours}h" if days or hours else ""
    return f"{text}{minutes}m{whole % 60}s"


def time(seconds: float | None) -> str:
    """Write unix seconds as a date, or ``never``."""
    return "never" if seconds is None else timestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")


def boxed(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Draw a table with a title."""
    cells = [list(head), *[[_number(cell) for cell in row] for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    inner = sum(widths) + 3 * len(widths) - 1
    bars = ["─" * (width + 2) for width in widths]
    lines = [f"╭{'─' * inner}╮", f"│{title.center(inner)}│", f"├{'┬'.join(bars)}┤"]
    drawn = ["│ " + " │ ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)) + " │"
             for r in cells]  # fmt: skip
    lines += [drawn[0], f"├{'┼'.join(bars)}┤", *drawn[1:], f"╰{'┴'.join(bars)}╯"]
    return "\n".join(lines) + "\n"


def _number(cell: object) -> str:
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def _page(title: str, groups: Sequence[tuple[str, Sequence[tuple[str, object]]]]) -> str:
    """Write labelled values, labels to the right, in groups with headings."""
    width = max(len(label) for _, pairs in groups for label, _ in pairs) + 2
    parts = [title]
    for heading, pairs in groups:
        body = "\n".join(f"{label:>{width}}: {_number(value)}" for label, value in pairs)
        parts.append(f"{heading}:\n\n{body}" if heading else body)
    return "\n\n".join(parts) + "\n"


def _limit(value: int, text: str | None = None) -> str:
    return "unlimited" if value < 0 else text or f"{value:,}"


# -- streams --------------------------------------------------------------------------------------


def streams(body: Body, now: float) -> str:
    """``nats stream ls``."""
    found = body["streams"]
    if not found:
        return "No Streams defined\n"
    rows = [
        [
            each["name"], "", time(each["created"]), each["state"]["messages"],
            size(each["state"]["bytes"]), _ago(each["state"]["last_ts"], now),
        ]
        for each in found
    ]  # fmt: skip
    head = ["Name", "Description", "Created", "Messages", "Size", "Last Message"]
    return boxed("Streams", head, rows)


def stream(body: Body) -> str:
    """``nats stream info``."""
    config, state = body["config"], body["state"]
    max_age = config["max_age"]
    return _page(
        f"Information for Stream {body['name']} created {time(body['created'])}",
        [
            ("", [
                ("Subjects", ", ".join(config["subjects"])),
                ("Replicas", 1),
                ("Storage", config["storage"].capitalize()),
            ]),
            ("Options", [
                ("Retention", {"limits": "Limits", "interest": "Interest",
                               "workqueue": "WorkQueue"}[config["retention"]]),
                ("Acknowledgments", "true"),
                ("Discard Policy", config["discard"].capitalize()),
                ("Duplicate Window", duration(config["duplicate_window"])),
            ]),
            ("Limits", [
                ("Maximum Messages", _limit(config["max_msgs"])),
                ("Maximum Bytes", _limit(config["max_bytes"], size(config["max_bytes"]))),
                ("Maximum Age", duration(max_age) if max_age > 0 else "unlimited"),
            ]),
            ("State", [
                ("Messages", state["messages"]),
                ("Bytes", size(state["bytes"])),
                ("First Sequence", f"{state['first_seq']:,} @ {time(state['first_ts'])}"),
                ("Last Sequence", f"{state['last_seq']:,} @ {time(state['last_ts'])}"),
                ("Deleted Messages", state["deleted"]),
                ("Active Consumers", state["consumers"]),
                ("Number of Subjects", len(state["subjects"])),
            ]),
        ],
    )  # fmt: skip


def subjects(body: Body) -> str:
    """``nats stream subjects``."""
    found = body["state"]["subjects"]
    rows = [[subject, count] for subject, count in found.items()]
    return boxed(f"{len(rows)} Subjects in stream {body['name']}", ["Subject", "Count"], rows)


# -- consumers ------------------------------------------------------------------------------------


def consumers(body: Body, stream: str, now: float) -> str:
    """``nats consumer ls`` and ``report``."""
    found = body["consumers"]
    if not found:
        return "No Consumers defined\n"
    rows = [
        [
            each["name"], "Pull", "Explicit", duration(each["config"]["ack_wait_s"]),
            each["num_ack_pending"], each["num_redelivered"], each["num_pending"],
            each["num_waiting"], _ago(each["last_delivered"], now),
        ]
        for each in found
    ]  # fmt: skip
    head = [
        "Consumer", "Mode", "Ack Policy", "Ack Wait", "Ack Pending", "Redelivered", "Unprocessed",
        "Waiting", "Last Delivery",
    ]  # fmt: skip
    return boxed(f"Consumers of {stream}", head, rows)


def consumer(body: Body, now: float) -> str:
    """``nats consumer info``."""
    config, at = body["config"], body["delivered"]
    waits = [("Backoff", ", ".join(duration(s) for s in config["backoff_s"]))]
    return _page(
        f"Information for Consumer {body['stream']} > {body['name']} "
        f"created {time(body['created'])}",
        [
            ("Configuration", [
                ("Name", body["name"]),
                ("Pull Mode", "true"),
                ("Filter Subject", config["filter_subject"] or "none"),
                ("Deliver Policy", "All"),
                ("Ack Policy", "Explicit"),
                ("Ack Wait", duration(config["ack_wait_s"])),
                ("Maximum Deliveries", _limit(config["max_deliver"])),
                ("Max Ack Pending", config["max_ack_pending"]),
                *(waits if config["backoff_s"] else []),
            ]),
            ("State", [
                ("Last Delivered Message",
                 f"Consumer sequence: {at['consumer_seq']:,} Stream sequence: "
                 f"{at['stream_seq']:,} Last delivery: {_ago(body['last_delivered'], now)}"),
                ("Acknowledgment Floor",
                 f"Stream sequence: {body['ack_floor']:,} "
                 f"Last Ack: {_ago(body['last_acked'], now)}"),
                ("Outstanding Acks",
                 f"{body['num_ack_pending']:,} out of maximum {config['max_ack_pending']:,}"),
                ("Redelivered Messages", body["num_redelivered"]),
                ("Unprocessed Messages", body["num_pending"]),
                ("Waiting Pulls", body["num_waiting"]),
            ]),
        ],
    )  # fmt: skip


# -- messages and the account ---------------------------------------------------------------------


def message(body: Body, stream: str) -> str:
    """``nats stream get``."""
    headers = "".join(f"  {key}: {value}\n" for key, value in body["headers"].items())
    heading = f"\nHeaders:\n{headers}" if headers else "\n"
    return (
        f"Item: {stream}#{body['seq']} received {time(body['time'])} on Subject {body['subject']}"
        f"\n{heading}\n{json.dumps(body['data'])}\n"
    )


def account(body: Body) -> str:
    """``nats account info``."""
    return _page(
        "Account Information",
        [
            ("JetStream Account Information", [
                ("Memory", f"{size(body['memory'])} of {size(body['max_memory'])}"),
                ("Storage", f"{size(body['storage'])} of {size(body['max_storage'])}"),
                ("Streams", body["streams"]),
                ("Consumers", body["consumers"]),
            ]),
        ],
    )  # fmt: skip


def _ago(moment: float | None, now: float) -> str:
    return "never" if moment is None else f"{duration(max(0.0, now - moment))} ago"
