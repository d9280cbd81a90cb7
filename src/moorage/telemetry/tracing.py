"""Spans of requests and jobs, sent to a collector in the background.

    traceparent of the caller, or a new trace ─► span ─► queue of QUEUE ─► thread ─► OTLP over HTTP

Nothing waits for the collector: what the queue has no room for is dropped, and so is what the
collector does not take in SECONDS. Only this room knows the library; it is loaded when asked for.
"""

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from moorage.telemetry.logs import TRACEPARENT

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span

log = logging.getLogger(__name__)

QUEUE = 2048
"""Spans that wait to be sent."""
SECONDS = 5.0
"""That the collector may take for one batch."""
PAUSE = 1.0
"""Seconds between two batches."""


class NoTraces(Exception):
    """The extra `otel` is not installed."""


class Tracing:
    """Makes spans; one for the process."""

    def __init__(self, endpoint: str, sample_rate: float, resource: Mapping[str, str]) -> None:
        """`endpoint` takes OTLP over HTTP; `resource` says what this is. Raises NoTraces."""
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
        except ImportError:
            raise NoTraces("trace.enabled needs OpenTelemetry: install moorage[otel]") from None
        # Each failed try would be a line with a traceback; `_Once` says what there is to say.
        for chatty in ("opentelemetry", "urllib3"):
            logging.getLogger(chatty).setLevel(logging.CRITICAL)
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(sample_rate)),
            resource=Resource.create(dict(resource)),
            shutdown_on_exit=False,
        )
        self._exporter = _Once(OTLPSpanExporter(endpoint=endpoint, timeout=SECONDS), endpoint)
        self._provider.add_span_processor(
            BatchSpanProcessor(
                cast(Any, self._exporter),
                max_queue_size=QUEUE,
                schedule_delay_millis=PAUSE * 1000,
            )
        )
        self._tracer = self._provider.get_tracer("moorage")

    @contextmanager
    def span(
        self,
        name: str,
        attributes: Mapping[str, Any],
        *,
        traceparent: str = "",
        server: bool,
        quiet: tuple[type[Exception], ...] = (),
    ) -> Iterator["Span"]:
        """A span around a block; an exception that is not `quiet` makes it a failed one."""
        from opentelemetry.context import Context
        from opentelemetry.trace import SpanKind, StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        carrier = {"traceparent": traceparent}
        span = self._tracer.start_span(
            name,
            TraceContextTextMapPropagator().extract(carrier, Context()),
            SpanKind.SERVER if server else SpanKind.CONSUMER,
            attributes,
        )
        known = span.get_span_context()
        text = f"00-{known.trace_id:032x}-{known.span_id:016x}-{int(known.trace_flags):02x}"
        before = TRACEPARENT.set(text)
        try:
            yield span
        except Exception as error:
            if not isinstance(error, quiet):
                # By its class alone: a message may hold what no collector shall see.
                span.set_attribute("error.type", type(error).__name__)
                span.set_status(StatusCode.ERROR)
            raise
        finally:
            TRACEPARENT.reset(before)
            span.end()

    def close(self) -> None:
        """Send what is left; blocks for twice SECONDS at most."""
        enough = threading.Timer(SECONDS, self._exporter.shutdown)
        enough.start()
        self._provider.shutdown()
        enough.cancel()


class _Once:
    """An exporter that tells of the first of several failures in a row."""

    def __init__(self, inner: "SpanExporter", endpoint: str) -> None:
        self._inner = inner
        self._endpoint = endpoint
        self._failing = False

    def export(self, spans: Sequence["ReadableSpan"]) -> Any:
        """Send a batch; whether that worked, in the library's terms."""
        result = self._inner.export(spans)
        failed = result.name != "SUCCESS"
        if failed and not self._failing:
            log.warning("traces are lost: %s does not take them", self._endpoint)
        elif self._failing and not failed:
            log.info("traces are sent again")
        self._failing = failed
        return result

    def shutdown(self) -> None:
        """Give up what is being sent."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Nothing waits here."""
        return True
