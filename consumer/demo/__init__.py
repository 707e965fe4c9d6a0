"""The whole system on one machine, on real parts, and the proof that nothing was lost."""

from consumer.demo.mqtt_server import Choice
from consumer.demo.processes import Interrupted
from consumer.demo.report import show
from consumer.demo.run import run_demo
from consumer.demo.system import DemoOptions

__all__ = ["Choice", "DemoOptions", "Interrupted", "run_demo", "show"]
