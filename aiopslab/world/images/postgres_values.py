"""SQL values: evaluation of expressions over a row, comparison, and text output.

Three-valued logic as in SQL: None is NULL. Not here: parsing (``postgres_expressions``), functions
that look at the server (``postgres_select`` passes them in).
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from aiopslab.telemetry.regex import search
from aiopslab.world.images.messages import PgError
from aiopslab.world.images.postgres_expressions import BIGINT, Expr, SqlFailure, Value

Lookup = Callable[[str, str], Value]
"""(qualifier, column) to a cell of the current row."""
Call = Callable[[Expr, Callable[[Expr], Value]], Value]
"""A function call and the evaluator for its arguments, to its result."""

_INTERVAL_UNITS = {
    "s": 1.0, "sec": 1.0, "second": 1.0, "m": 60.0, "min": 60.0, "minute": 60.0, "h": 3600.0,
    "hour": 3600.0, "d": 86400.0, "day": 86400.0, "ms": 0.001, "millisecond": 0.001,
}  # fmt: skip


def evaluate(expr: Expr, lookup: Lookup, call: Call) -> Value:
    """Evaluate an expression over one row.

    Raises:
        SqlFailure: As the server words it.
    """

    def run(node: Expr) -> Value:
        match node.op:
            case "literal":
                return node.value
            case "column":
                return lookup(node.qualifier, str(node.value))
            case "call":
                return call(node, run)
            case "binary":
                return _binary(str(node.value), node.args, run)
            case _:
                return _special(node, run)

    return run(expr)


def _special(node: Expr, run: Callable[[Expr], Value]) -> Value:
    """Evaluate the operators with a syntax of their own."""
    values = [] if node.op == "case" else [run(arg) for arg in node.args]
    match node.op:
        case "case":
            return _case(node.args, run)
        case "isnull":
            return (values[0] is None) != node.negated
        case "cast":
            return cast(values[0], str(node.value))
        case "unary" if node.value == "-":
            return _negative(values[0])
        case "unary":
            return None if values[0] is None else not values[0]
        case "in":
            found = _in(values)
        case "between":
            value, low, high = values
            found = _and(compare(">=", value, low), compare("<=", value, high))
        case _:
            raise SqlFailure(PgError("42601", 'syntax error at or near "*"'))
    return found if found is None or not node.negated else not found


def _binary(op: str, args: Sequence[Expr], run: Callable[[Expr], Value]) -> Value:
    left = run(args[0])
    if op in ("and", "or"):
        # The right side is not looked at when the left decides, as the executor does.
        if left is (op == "or"):
            return left
        right = run(args[1])
        return _and(left, right) if op == "and" else _or(left, right)
    right = run(args[1])
    if left is None or right is None:
        return None
    if op in ("=", "<>", "!=", "<", ">", "<=", ">="):
        return compare(op, left, right)
    if op in ("like", "ilike"):
        return _like(str(right), op == "ilike").fullmatch(text(left) or "") is not None
    if op.lstrip("!").rstrip("*") == "~":
        flags = re.IGNORECASE if op.endswith("*") else 0
        try:
            matched = search(str(right), text(left) or "", flags) is not None
        except re.error as error:
            raise SqlFailure(PgError("2201B", f"invalid regular expression: {error}")) from error
        return matched != op.startswith("!")
    return _arithmetic(op, left, right)


def _arithmetic(op: str, left: Value, right: Value) -> Value:
    if op == "||":
        return f"{text(left)}{text(right)}"
    if op in ("/", "%") and right == 0:
        raise SqlFailure(PgError("22012", "division by zero"))
    try:
        found = _computed(op, left, right)
    except TypeError as error:
        raise _no_operator(f"{type_name(left)} {op} {type_name(right)}") from error
    except (OverflowError, ValueError) as error:  # the latter: a time and a NaN
        raise SqlFailure(PgError("22003", "value out of range")) from error
    if isinstance(found, int) and not -BIGINT <= found < BIGINT:
        raise SqlFailure(PgError("22003", "bigint out of range"))
    return found


def _computed(op: str, left: Value, right: Value) -> Value:
    match op:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "/" if isinstance(left, int) and isinstance(right, int):
            return int(left / right)
        case "/":
            return left / right
        case _:
            return left % right


def _negative(value: Value) -> Value:
    if value is None:
        return None
    if isinstance(value, int | float | dt.timedelta) and not isinstance(value, bool):
        return -value
    raise _no_operator(f"- {type_name(value)}")


def _no_operator(form: str) -> SqlFailure:
    return SqlFailure(
        PgError(
            "42883",
            f"operator does not exist: {form}",
            hint="No operator matches the given name and argument types. "
            "You might need to add explicit type casts.",
        )
    )


def compare(op: str, left: Value, right: Value) -> bool | None:
    """Compare two values; an untyped string takes the type of the other side."""
    if left is None or right is None:
        return None
    if type(left) is not type(right):
        left, right = _unify(left, right)
    match op:
        case "=":
            return bool(left == right)
        case "<>" | "!=":
            return bool(left != right)
        case "<":
            return bool(left < right)
        case ">":
            return bool(left > right)
        case "<=":
            return bool(left <= right)
        case _:
            return bool(left >= right)


def _unify(left: Value, right: Value) -> tuple[Value, Value]:
    if isinstance(left, int | float) and isinstance(right, int | float):
        return left, right
    if isinstance(left, list) or isinstance(right, list):
        raise SqlFailure(PgError("42883", "operator does not exist: integer = integer[]"))
    if isinstance(right, str):
        return left, cast(right, type_name(left))
    if isinstance(left, str):
        return cast(left, type_name(right)), right
    raise SqlFailure(
        PgError("42883", f"operator does not exist: {type_name(left)} = {type_name(right)}")
    )


def _in(values: Sequence[Value]) -> bool | None:
    found: bool | None = False
    for candidate in values[1:]:
        found = _or(found, compare("=", values[0], candidate))
    return found


def _and(left: bool | None, right: bool | None) -> bool | None:
    if left is False or right is False:
        return False
    return None if left is None or right is None else bool(left and right)


def _or(left: bool | None, right: bool | None) -> bool | None:
    if left is True or right is True:
        return True
    return None if left is None or right is None else bool(left or right)


def _case(args: Sequence[Expr], run: Callable[[Expr], Value]) -> Value:
    for condition, result in zip(args[:-1:2], args[1::2], strict=False):
        if run(condition) is True:
            return run(result)
    return run(args[-1])


@lru_cache(maxsize=64)
def _like(pattern: str, fold: bool) -> re.Pattern[str]:
    first, *rest = [
        "".join("." if c == "_" else re.escape(c) for c in p) for p in pattern.split("%")
    ]
    # The first place where a part between two % fits is as good as any: no need to come back.
    parts = [f"(?>.*?{part})" for part in rest[:-1]]
    last = f".*{rest[-1]}" if rest else ""
    return re.compile("".join([first, *parts, last]), re.DOTALL | (re.IGNORECASE if fold else 0))


def type_name(value: Value) -> str:
    """Return the SQL type of a value."""
    match value:
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "numeric"
        case dt.datetime():
            return "timestamp with time zone"
        case dt.timedelta():
            return "interval"
        case list():
            return "integer[]"
        case _:
            return "text"


def cast(value: Value, kind: str) -> Value:
    """Convert a value to a SQL type.

    Raises:
        SqlFailure: 22P02, 22007, or 42704 for a type that does not exist.
    """
    if value is None:
        return None
    try:
        match kind:
            case "text" | "varchar" | "name" | "regclass" | "char" | "character":
                return text(value)
            case "integer" | "int" | "int4" | "bigint" | "int8" | "smallint" | "oid":
                return _whole(value)
            case "numeric" | "float8" | "float" | "real" | "double" | "decimal":
                return float(value)
            case "boolean" | "bool":
                return _boolean(value)
            case "interval":
                return value if isinstance(value, dt.timedelta) else _interval(str(value))
            case "timestamptz" | "timestamp" | "timestamp with time zone" | "date":
                return value if isinstance(value, dt.datetime) else _timestamp(str(value))
    except OverflowError as error:
        raise SqlFailure(PgError("22003", f"{kind} out of range")) from error
    except (ValueError, TypeError) as error:
        message = f'invalid input syntax for type {kind}: "{text(value)}"'
        raise SqlFailure(PgError("22P02", message)) from error
    raise SqlFailure(PgError("42704", f'type "{kind}" does not exist'))


def _whole(value: Value) -> int:
    """Convert to an integer; raises ValueError, TypeError or OverflowError."""
    if isinstance(value, str) and len(value) > 40:
        int(value[:40])  # no number at all is another mistake than a large one
        raise OverflowError
    if isinstance(value, float) and math.isnan(value):
        raise OverflowError
    number = int(value) if isinstance(value, str) else round(float(value))
    if not -BIGINT <= number < BIGINT:
        raise OverflowError
    return number


def _boolean(value: Value) -> bool:
    if isinstance(value, bool | int):
        return bool(value)
    known = {"t": True, "true": True, "on": True, "f": False, "false": False, "off": False}
    if str(value).lower() not in known:
        raise ValueError(value)
    return known[str(value).lower()]


def _timestamp(source: str) -> dt.datetime:
    found = dt.datetime.fromisoformat(source.strip())
    return found if found.tzinfo else found.replace(tzinfo=dt.UTC)


def _interval(source: str) -> dt.timedelta:
    clock = re.fullmatch(r"(\d+):(\d\d)(?::(\d\d(?:\.\d+)?))?", source.strip())
    if clock:
        hours, minutes, secs = clock.groups()
        return dt.timedelta(hours=int(hours), minutes=int(minutes), seconds=float(secs or 0))
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([a-z]+)", source.lower())
    total = 0.0
    for number, unit in parts:
        key = unit if unit in _INTERVAL_UNITS else unit.removesuffix("s")
        if key not in _INTERVAL_UNITS:
            raise ValueError(source)
        total += float(number) * _INTERVAL_UNITS[key]
    if not parts:
        raise ValueError(source)
    return dt.timedelta(seconds=total)


def timestamp(seconds: float) -> dt.datetime:
    """Return unix seconds as a timestamptz."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


def text(value: Value) -> str | None:
    """Write a value in PostgreSQL's text format; None for NULL."""
    match value:
        case None:
            return None
        case bool():
            return "t" if value else "f"
        case float() if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case float():
            return repr(round(value, 6)) if value != int(value) else str(int(value))
        case dt.datetime():
            stamp = value.strftime("%Y-%m-%d %H:%M:%S.%f").rstrip("0").rstrip(".")
            return f"{stamp}+00"
        case dt.timedelta():
            return _interval_text(value)
        case list():
            return "{" + ",".join(str(text(item)) for item in value) + "}"
        case _:
            return str(value)


def _interval_text(value: dt.timedelta) -> str:
    total = value.total_seconds()
    sign, total = ("-", -total) if total < 0 else ("", total)
    days, rest = divmod(total, 86400.0)
    hours, rest = divmod(rest, 3600.0)
    minutes, secs = divmod(rest, 60.0)
    clock = f"{int(hours):02d}:{int(minutes):02d}:{secs:09.6f}"
    clock = clock.rstrip("0").rstrip(".") if "." in clock else clock
    plural = "s" if days != 1 else ""
    return f"{sign}{f'{int(days)} day{plural} ' if days else ''}{clock}"
