"""The target `orders` once more, told by a state machine of hypothesis.

It shortens what fails to the fewest steps.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from support.generated import register_profiles

from fuzz.orders import ACTIONS, PASSING, PAUSES, Step, Story

if TYPE_CHECKING:
    from fuzz.engines import Notebook

_NODES = st.integers(0, 1)
_SMALL = st.integers(0, 7)
_PAUSE = st.integers(0, len(PAUSES) - 1)
_SAID = [n for n, each in enumerate(ACTIONS) if each.isupper()]
_EXAMPLES = 20


class Orders(RuleBasedStateMachine):
    """A story whose steps are written down as an input of the target `orders`."""

    notebook: ClassVar[Notebook]

    def __init__(self) -> None:
        super().__init__()
        self.story = Story()
        self.told = b""

    def act(self, step: Step) -> None:
        self.told += step.to_bytes()
        self.notebook.note(self.told)
        self.story.act(step)

    @rule(
        action=st.sampled_from(_SAID),
        node=_NODES,
        pause=_PAUSE,
        new_batch=st.booleans(),
        by=_SMALL,
        skew=st.integers(0, 3),
    )
    def say(self, *, action, node, pause, new_batch, by, skew) -> None:
        """An edge node sends a message, and it comes."""
        self.act(Step(action, node, 0, 0, pause, new_batch, by, skew))

    @rule(
        action=st.sampled_from(_SAID),
        node=_NODES,
        fate=st.integers(1, 4),
        new_batch=st.booleans(),
        by=_SMALL,
    )
    def meet_with_trouble(self, *, action, node, fate, new_batch, by) -> None:
        """An edge node sends a message, and something happens to it on the way."""
        self.act(Step(action, node, fate, 0, 0, new_batch, by, 0))

    @rule(action=st.sampled_from(_SAID), node=_NODES, seq=st.integers(0, 239), by=_SMALL)
    def go_astray(self, action, node, seq, by) -> None:
        """A message with a seq of its own comes."""
        self.act(Step(action, node, 5, seq, 0, False, by, 0))

    @rule(node=_NODES, new_batch=st.booleans())
    def release(self, node, new_batch) -> None:
        """What was kept back comes at last."""
        self.act(Step(ACTIONS.index("release"), node, 0, 0, 0, new_batch, 0, 0))

    @rule(duration=st.integers(0, len(PASSING) - 1))
    def wait(self, duration) -> None:
        """Nothing comes for a while."""
        self.act(Step(ACTIONS.index("pass"), 0, 0, 0, 0, True, duration, 0))

    @rule(node=_NODES)
    def restart(self, node) -> None:
        """An edge node counts anew, and tells nobody."""
        self.act(Step(ACTIONS.index("restart"), node, 0, 0, 0, False, 0, 0))

    @rule(restart=st.booleans())
    def trouble_the_host(self, restart) -> None:
        """The connection of the consumer is lost, or the consumer starts anew."""
        self.act(Step(ACTIONS.index("host"), 0, 0, 0, 0, True, int(restart), 0))

    def teardown(self) -> None:
        self.story.end()


def tell_stories(
    notebook: Notebook, first_seed: int, seconds: float, stories: int | None = None
) -> None:
    """Let hypothesis tell stories until it is enough, or one of them fails."""
    register_profiles()  # equal seeds give equal stories, whatever is loaded
    Orders.notebook = notebook
    end, number, told = time.monotonic() + seconds, first_seed, 0
    while time.monotonic() < end and (stories is None or told < stories):
        run_state_machine_as_test(
            seed(number)(Orders),
            settings=settings(
                max_examples=_EXAMPLES,
                stateful_step_count=40,
                deadline=None,
                database=None,
                report_multiple_bugs=False,
                phases=(Phase.generate, Phase.shrink),
                suppress_health_check=list(HealthCheck),
            ),
        )
        number += 1
        told += _EXAMPLES
