"""The exporter of OpenTelemetry's SDK that keeps log records, and what it keeps, by the names of its version."""

from __future__ import annotations

from typing import Any

import opentelemetry.sdk._logs.export as exports


def make_log_exporter() -> Any:
    """Return one."""
    name = "InMemoryLogRecordExporter"
    kind = getattr(exports, name, None) or getattr(exports, "InMemoryLogExporter")  # noqa: B009 - older than typed
    return kind()


def write_record(kept: Any) -> str:
    """Return what an exporter keeps of one record as JSON."""
    record = kept if hasattr(kept, "to_json") else kept.log_record
    text: str = record.to_json()
    return text
