"""The Sparkplug host application: its id, what it asks of edge nodes, when it is offline."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from consumer.config.section import Duration, Section
from consumer.config.units import HOUR, MINUTE
from sparkplug import check_id


def _check_host_id(text: str) -> str:
    try:
        return check_id(text, "it")
    except ValueError:
        raise ValueError("must not be empty nor contain '+', '#' or '/'") from None


class Rebirth(Section):
    """How often edge nodes are asked for a rebirth."""

    per_node: Duration = Field(
        default=5.0,
        ge=1.0,
        le=HOUR,
        description="Shortest time between two requests to one edge node.",
    )
    max_pause: Duration = Field(
        default=HOUR,
        ge=MINUTE,
        le=24 * HOUR,
        description="Longest time between two requests for what an edge node's births do not mend, "
        "such as a metric that none of them declares. It doubles from `per_node` on with each "
        "birth in vain. A hole in `seq` never waits for it.",
    )
    fleet_per_second: float = Field(
        default=10.0,
        ge=0.1,
        le=1000.0,
        description="Most requests per second to all edge nodes together.",
    )


class GateSection(Section):
    """When `gate_on_sink` closes the gate to the edge, and opens it again.

    It closes at `spool.high_watermark` or `spool.min_free`, and opens below
    `spool.low_watermark`.
    """

    min_closed: Duration = Field(
        default=60.0,
        ge=0.0,
        le=HOUR,
        description="Shortest time that the gate stays closed: each time it opens, every edge "
        "node that names this host is born anew.",
    )
    ack_timeout: Duration = Field(
        default=0.0,
        ge=0.0,
        le=24 * HOUR,
        description="The gate also closes when rows wait and none was acknowledged for this "
        "long. 0: never for that.",
    )
    drain: Duration = Field(
        default=2.0,
        ge=0.0,
        le=MINUTE,
        description="How long a server is still read after the offline STATE: what edge nodes "
        "sent before they knew of it. Up to five times as long while messages come without a "
        "pause.",
    )


class Host(Section):
    """The Sparkplug host application that the consumer is."""

    id: Annotated[str, AfterValidator(_check_host_id)] = Field(
        default="sparkplug-zerobus",
        description="Host id: STATE is published on `spBv1.0/STATE/<id>`. Unique per "
        "infrastructure.",
    )
    mode: Literal["active", "passive"] = Field(
        default="active",
        description="`active` publishes STATE and rebirth requests; `passive` never publishes.",
    )
    gate_on_sink: bool = Field(
        default=False,
        description="STATE says offline while rows cannot be stored, so that edge nodes that name "
        "this host as their primary host keep their data. Others' data is lost meanwhile. Needs "
        "mode `active`.",
    )
    gate: GateSection = Field(
        default=GateSection(), description="When `gate_on_sink` closes the gate to the edge."
    )
    reorder_timeout: Duration = Field(
        default=2.0,
        ge=0.0,
        le=MINUTE,
        description="How long messages behind a hole in `seq` wait for the missing one.",
    )
    unheard: Duration = Field(
        default=10 * MINUTE,
        ge=0.0,
        le=24 * HOUR,
        description="How long an edge node that was alive may be unheard after the consumer was "
        "stopped, disconnected or gated, until it is asked for a rebirth. 0: it is never asked.",
    )
    silent_after: float = Field(
        default=3.0,
        ge=0.0,
        le=1000.0,
        description="An edge node is told to be silent when it has said nothing for this many "
        "times its longest pause so far, and at least a minute. 0: never.",
    )
    rebirth: Rebirth = Field(default=Rebirth(), description="Limits of rebirth requests.")
