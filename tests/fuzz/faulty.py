"""Targets that fail in every way there is, to see that the fuzzer notices."""

import os
import threading

from fuzz.target import Target


def _on(trigger, action):
    def run(data):
        if trigger in data:
            action()

    return run


def _raises():
    raise ValueError("a defect")


def _takes_memory():
    bytearray(8 * 2**30)


def _hangs():
    threading.Event().wait()


def _seeds():
    return [b"harmless", b"harmless, too"]


RAISES = Target(_on(b"\xff", _raises), _seeds)
ABORTS = Target(_on(b"\xff", os.abort), _seeds)
TAKES_MEMORY = Target(_on(b"\xff", _takes_memory), _seeds)
HANGS = Target(_on(b"\xff", _hangs), _seeds)
HOLDS = Target(_on(b"never said", _raises), _seeds)
CANNOT_START = "no target"
