"""The whole system on one machine, on real parts, and the proof that nothing was lost."""

from consumer.demo.report import Result, show
from consumer.demo.run import run
from consumer.demo.system import DemoOptions

__all__ = ["DemoOptions", "Result", "run", "show"]
