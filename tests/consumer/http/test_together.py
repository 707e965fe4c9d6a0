"""Answers that are made once for those who ask at about the same time."""

from __future__ import annotations

import asyncio
import threading

from support.services import PATIENCE

from consumer.http.together import Together


class Slow:
    """Makes an answer when it is let; knows how many are in the making, and were at most."""

    def __init__(self):
        self.go_on, self.reached = threading.Event(), threading.Event()
        self.begun = self.present = self.most = 0
        self._lock = threading.Lock()

    def make(self):
        with self._lock:
            self.begun += 1
            self.present += 1
            self.most = max(self.most, self.present)
            made = self.begun
        self.reached.set()
        assert self.go_on.wait(PATIENCE)
        with self._lock:
            self.present -= 1
        return made


def test_while_an_answer_is_in_the_making_no_other_one_begins():
    async def ask():
        slow = Slow()
        together = Together(slow.make, pause=0.0)
        asking = [asyncio.create_task(together.get())]
        assert await asyncio.to_thread(slow.reached.wait, PATIENCE)
        asking += [asyncio.create_task(together.get()) for _ in range(3)]
        for _ in range(100):  # what may begin begins
            await asyncio.sleep(0)
        asking += [asyncio.create_task(together.get()) for _ in range(3)]
        for _ in range(100):
            await asyncio.sleep(0)
        slow.go_on.set()
        return await asyncio.gather(*asking), slow.most

    answers, most = asyncio.run(ask())
    assert most == 1
    assert answers == [1] + [2] * 6


def test_a_failure_keeps_nobody_from_asking_again():
    found = iter([ZeroDivisionError("once"), "fine"])

    def make():
        each = next(found)
        if isinstance(each, Exception):
            raise each
        return each

    async def ask():
        together = Together(make, pause=0.0)
        first = await asyncio.gather(together.get(), return_exceptions=True)
        return first, await together.get()

    [failed], answer = asyncio.run(ask())
    assert isinstance(failed, ZeroDivisionError)
    assert answer == "fine"
