"""The configuration as a whole. Names, nesting and defaults are a contract with users.

Descriptions, defaults and bounds stand here once: docs/configuration.md and
examples/sparkplug-zerobus.yaml are generated from them (`python -m consumer.config`).
"""

from collections import Counter
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, model_validator

from consumer.config.budget import QUEUED_BESIDE, Budget, budget_of
from consumer.config.columns import problem_with, read_columns
from consumer.config.databricks import Zerobus
from consumer.config.host import Host
from consumer.config.http import Http
from consumer.config.section import (
    ConflictError,
    Duration,
    NumberAsText,
    Section,
    Size,
    Template,
    check_file_name,
)
from consumer.config.server import Server
from consumer.config.units import GIB, KIB, MIB, MINUTE

_HIGHEST_GATED: Final = 0.95
"""Highest `spool.high_watermark` with which a gate can close in time."""


def _check_path(value: object) -> object:
    if not isinstance(value, str):
        return value
    if not value.strip():
        raise ValueError("must not be empty")
    return check_file_name(value)


class IgnitionModule(Section):
    """The table of the Ignition module, of which there are several forms."""

    columns: Annotated[Literal["14", "18"], NumberAsText] = Field(
        default="18", description="How many columns the table has; older sites have 14."
    )
    source_column: Literal["source_system", "source_system_id"] = Field(
        default="source_system", description="Name of the column that tells the source."
    )
    event_time: Literal["TIMESTAMP", "BIGINT"] = Field(
        default="TIMESTAMP", description="Type of that column; BIGINT has microseconds since 1970."
    )


class Normalize(Section):
    """How metrics become rows."""

    tag_path: Template = Field(
        default="[MQTT Engine]Edge Nodes/{group_id}/{edge_node_id}/{device_id}/{metric}",
        description="Template of the column tag_path. A level without value is left out with its "
        "slash.",
    )
    profile: Literal["default", "ignition-module"] = Field(
        default="default",
        description="Columns of the table; `sparkplug-zerobus ddl` prints them. `ignition-module`: "
        "those of the table that the Zerobus module for Ignition writes.",
    )
    ignition_module: IgnitionModule = Field(
        default=IgnitionModule(), description="Forms of the table of `profile: ignition-module`."
    )
    columns: Annotated[tuple[str, ...], BeforeValidator(read_columns)] = Field(
        default=(),
        description="Columns of a table that exists: names of columns of `tag_events`, in the "
        "order of the table, `ours: theirs` where the table has another name. `event_id` must be "
        "among them. Empty: all of the profile.",
    )
    emit_births: bool = Field(default=True, description="Write rows for the values in births.")
    emit_stale: Literal["none", "deaths", "all"] = Field(
        default="deaths",
        description="Write rows of quality STALE: never, on deaths, or also when the consumer's "
        "own connection is lost.",
    )
    emit_transient: bool = Field(
        default=False, description="Write rows for metrics that are transient."
    )

    @model_validator(mode="after")
    def _columns_fit(self) -> "Normalize":
        if self.columns and self.profile != "default":
            raise ConflictError(
                "columns", f"cannot be given with profile {self.profile}; remove one of them"
            )
        found = problem_with(self.columns) if self.columns else None
        if found is not None:
            raise ConflictError("columns", found)
        return self


_QUIET: Final = 4


class BatchSection(Section):
    """How messages are grouped before they are decoded."""

    max_messages: int = Field(
        default=5000, ge=1, le=100_000, description="Most messages per batch."
    )
    max_bytes: Size = Field(
        default=8 * MIB, ge=64 * KIB, le=256 * MIB, description="Most payload bytes per batch."
    )
    max_delay: Duration = Field(
        default=0.05, ge=0.001, le=10.0, description="Longest wait for a batch to fill up."
    )
    quiet_delay: Duration = Field(
        default=0.0,
        ge=0.0,
        le=10.0,
        description="While fewer than 100 messages have come a batch waits until so long after the "
        "one before: fewer batches take less of a processor. 0: four times `max_delay`.",
    )

    @property
    def longest_quiet_delay(self) -> float:
        """Seconds that a batch of few messages may wait."""
        return max(self.quiet_delay or _QUIET * self.max_delay, self.max_delay)


class SpoolSection(Section):
    """The durable store between MQTT and Zerobus."""

    path: Annotated[Path, BeforeValidator(_check_path)] = Field(
        default=Path("./data/spool.db"),
        description="SQLite file, relative to the working directory; its directory is made when "
        "missing. On a local disk, not on a network share.",
    )
    max_bytes: Size = Field(
        default=4 * GIB,
        ge=16 * MIB,
        description="Most bytes on disk: rows per second, times about 200 bytes, times the "
        "longest outage to survive.",
    )
    high_watermark: float = Field(
        default=0.8,
        gt=0.0,
        le=1.0,
        description="Fraction of `max_bytes` from which on the spool counts as nearly full: "
        "logged, shown in the metrics, and with `host.gate_on_sink` the gate closes.",
    )
    low_watermark: float = Field(
        default=0.5,
        ge=0.0,
        lt=1.0,
        description="Fraction of `max_bytes` below which it no longer does.",
    )
    min_free: Size = Field(
        default=128 * MIB,
        ge=0,
        description="The same when less than this is free on the disk, until twice as much is.",
    )
    max_dead_letter_bytes: Size = Field(
        default=256 * MIB,
        ge=0,
        description="Most bytes of what is kept as dead letters; never more than a quarter of "
        "`max_bytes`. Half of it is for rows that Zerobus refuses, or that are damaged, a quarter "
        "for rows that no call to Zerobus can carry, and a quarter for messages that cannot be "
        "read; none lends to another. Further rows are dropped, of messages the latest are kept, "
        "and what goes is counted.",
    )
    sync: Literal["full", "normal"] = Field(
        default="full",
        description="`full` survives loss of power; `normal` is faster and may lose the last "
        "transactions then, but not when the process ends.",
    )


class Log(Section):
    """The log, on stderr."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe level that is written."
    )
    format: Literal["text", "json"] = Field(
        default="text", description="One line of text or of JSON each."
    )


class LimitsSection(Section):
    """Bounds that protect the consumer against what it is sent."""

    memory: Size = Field(
        default=512 * MIB,
        ge=256 * MIB,
        description="Most memory that the consumer takes. What is bounded below has its share of "
        "it, and so have messages that are read, held or sent.",
    )
    max_payload: Size = Field(
        default=16 * MIB,
        ge=KIB,
        le=256 * MIB,
        description="Largest MQTT payload; a larger one is counted and dropped.",
    )
    max_nodes: int = Field(
        default=10_000, ge=1, le=1_000_000, description="Most edge nodes that are remembered."
    )
    max_tags: int = Field(
        default=0,
        ge=0,
        le=100_000_000,
        description="Most tags that are remembered, of all servers together, with names of 32 "
        "characters on average; an edge node or device takes the room of six. 0: as many as "
        "`memory` has room for, 120,000 by default.",
    )
    queue_bytes: Size = Field(
        default=0,
        ge=0,
        description="Most payload bytes in memory between MQTT and the spool. 0: a twelfth of "
        "`memory`.",
    )

    @property
    def budget(self) -> Budget:
        """What the memory is divided into.

        Raises:
            ConflictError: it does not suffice.
        """
        return budget_of(
            self.memory,
            max_payload=self.max_payload,
            max_tags=self.max_tags,
            queue_bytes=self.queue_bytes,
        )


class Configuration(Section):
    """Everything the consumer is told. Made by `load` or `parse`."""

    servers: tuple[Server, ...] = Field(
        min_length=1, description="MQTT servers, one or many: they fan in."
    )
    host: Host = Field(
        default=Host(), description="The Sparkplug host application that the consumer is."
    )
    normalize: Normalize = Field(default=Normalize(), description="How metrics become rows.")
    batch: BatchSection = Field(
        default=BatchSection(),
        description="How messages are grouped; whichever limit is met first.",
    )
    spool: SpoolSection = Field(
        default=SpoolSection(), description="The durable store between MQTT and Zerobus."
    )
    zerobus: Zerobus = Field(description="Zerobus Ingest: where the rows go.")
    http: Http = Field(default=Http(), description="Health, metrics, web page and `/ingest`.")
    log: Log = Field(default=Log(), description="The log, on stderr.")
    limits: LimitsSection = Field(
        default=LimitsSection(),
        description="Bounds that protect the consumer against what it is sent.",
    )
    shutdown_timeout: Duration = Field(
        default=10.0,
        ge=0.0,
        le=10 * MINUTE,
        description="How long a stop waits for acknowledgements. What is not acknowledged stays "
        "in the spool.",
    )

    @model_validator(mode="after")
    def _sections_agree(self) -> "Configuration":
        counts = Counter(server.name for server in self.servers)
        for index, server in enumerate(self.servers):
            if counts[server.name] > 1:
                raise ConflictError(
                    f"servers[{index}].name", "is used twice; give each server a name of its own"
                )
        budget = self.limits.budget
        if self.limits.max_payload + QUEUED_BESIDE > budget.queue_bytes:
            raise ConflictError(
                "limits.queue_bytes", "must be 300KiB more than limits.max_payload, or more"
            )
        if self.spool.low_watermark >= self.spool.high_watermark:
            raise ConflictError("spool.low_watermark", "must be less than spool.high_watermark")
        if self.host.gate_on_sink and self.host.mode == "passive":
            raise ConflictError(
                "host.gate_on_sink",
                "needs host.mode active: a passive host has no STATE that could say offline",
            )
        if self.host.gate_on_sink and self.spool.high_watermark > _HIGHEST_GATED:
            raise ConflictError(
                "spool.high_watermark",
                f"must be at most {_HIGHEST_GATED} with host.gate_on_sink: what arrives while the "
                "gate closes needs room above it",
            )
        return self

    @property
    def _wanted_reserve(self) -> int:
        return self.limits.budget.queue_bytes + 2 * self.batch.max_bytes

    @property
    def gate_reserve(self) -> int:
        """Bytes of the spool that are kept for what arrives while the gate closes.

        A full queue, the batch that is being decoded and the one that is being received; at
        most half of what is above the high watermark, because there the gate only begins to
        close.
        """
        above = (1.0 - self.spool.high_watermark) * self.spool.max_bytes
        return min(self._wanted_reserve, int(above / 2))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is allowed but probably a mistake, as `key: text`."""
        found = [
            f"servers[{index}].{text}"
            for index, server in enumerate(self.servers)
            for text in server.warnings()
        ]
        found += [f"zerobus.{text}" for text in self.zerobus.warnings()]
        if "{metric}" not in self.normalize.tag_path:
            found.append("normalize.tag_path: has no {metric}: many tags share one path")
        if self.host.gate_on_sink and self.gate_reserve < self._wanted_reserve:
            found.append(
                f"host.gate_on_sink: the spool has {self.gate_reserve // MIB}MiB for what arrives "
                f"while the gate closes, limits.queue_bytes and batch.max_bytes ask for "
                f"{self._wanted_reserve // MIB}MiB; a larger spool.max_bytes or a lower "
                "spool.high_watermark makes room"
            )
        found += [f"http.{text}" for text in self.http.warnings()]
        return tuple(found)
