"""A small fake of an Ignition gateway's HTTP API, on a free port of this machine.

It is no gateway: each of its answers is what vendor documentation or published measurements with
8.3.7 say of one, and says so where it is made. What these leave open (which fields a gateway of a
later version has, what its log lines look like around the part that is known) stays open: tests
give the fake other defaults and other lines, too.
"""

from support.gateway.server import KEY, FakeGateway, serving_gateway
from support.gateway.state import TX, GatewayState

__all__ = ["KEY", "TX", "FakeGateway", "GatewayState", "serving_gateway"]
