"""Logs: one line an event, JSON or for people, never with a secret or a control character."""

import logging
import re
import sys
from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import Any

import structlog

SECRETS = (
    (re.compile(r"(?i)\b(bearer|basic)\s+[a-z0-9+/=._~-]{8,}"), r"\1 ***"),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*"), "***"),  # a signed token
    (re.compile(r"(://[^/@\s:]*):[^/@\s]+@"), r"\1:***@"),  # a password in a URL
    (
        re.compile(
            r"(?i)([?&](?:[a-z_]*token|password|secret|sig|x-(?:amz|goog)-[a-z-]+)=)[^&\s\"']+"
        ),
        r"\1***",
    ),
)
"""What looks like a credential, and what is written for it."""

UNSAFE = re.compile(
    r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]"
)
"""What ends a line, starts an escape sequence or turns the direction of text."""

HIDDEN = frozenset({"authorization", "cookie", "set-cookie", "password", "secret", "token"})

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the request that is being answered; it is on every line that is written meanwhile."""

TRACEPARENT: ContextVar[str] = ContextVar("traceparent", default="")
"""The span that runs, as W3C Trace Context writes it: `00-trace-span-flags`; empty without."""

Event = MutableMapping[str, Any]


def configure(level: str, form: str) -> None:
    """Send the logs of this process and its libraries to standard error."""
    shared: list[structlog.typing.Processor] = [
        _with_ids,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        clean,
    ]
    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if console
        else structlog.processors.JSONRenderer()
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Whatever the level: sqlalchemy at INFO and aiosqlite at DEBUG print the values of statements.
    logging.getLogger("uvicorn.error").setLevel("ERROR")  # its warnings are any client's to cause
    for chatty in ("alembic", "asyncio", "sqlalchemy", "aiosqlite", "asyncpg"):
        logging.getLogger(chatty).setLevel("WARNING")
    for chatty in ("httpx2", "httpcore2"):  # at DEBUG with every header, of which some are secret
        logging.getLogger(chatty).setLevel("WARNING")
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _with_ids(_: Any, __: str, event: Event) -> Event:
    known = REQUEST_ID.get()
    if known:
        event["request_id"] = known
    if span := TRACEPARENT.get():
        _, event["trace_id"], event["span_id"], _ = span.split("-")
    return event


def clean(_: Any, __: str, event: Event) -> Event:
    """Hide credentials and keep every event on its line, whatever a client put into a name."""
    for key, value in event.items():
        event[key] = "***" if key in HIDDEN else _clean(value, traceback=key == "exception")
    return event


def _clean(value: Any, *, traceback: bool = False) -> Any:
    if isinstance(value, str):
        # A traceback keeps its own line breaks; JSON escapes them, and people want to read it.
        return "\n".join(map(one_line, value.split("\n"))) if traceback else one_line(value)
    if isinstance(value, dict):
        return {k: "***" if str(k).lower() in HIDDEN else _clean(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(each) for each in value]
    return value


def one_line(text: str) -> str:
    """Text without line breaks, escape sequences, bidi overrides or credentials."""
    for secret, shown in SECRETS:
        text = secret.sub(shown, text)
    return UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
