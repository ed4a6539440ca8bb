"""Copies of this process with everything in it, moto among it: what happens there stays there."""

from __future__ import annotations

import gc
import os
import pickle
import random
import traceback
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Copy:
    """A forked copy of this process, with moto: what happens in the copy changes nothing here.

    The copy sleeps until it is woken, so that no time passes in the world that it was copied from.
    """

    asleep: ClassVar[list[int]] = []  # the ends of pipes that wake other copies

    def __init__(self) -> None:
        sleep_end, self._wake = os.pipe()
        self._answer, self._answer_end = os.pipe()
        self._pid = os.fork()
        self.is_here = self._pid == 0
        if not self.is_here:
            os.close(sleep_end)
            os.close(self._answer_end)
            self.asleep.append(self._wake)
            return
        for end in (self._answer, self._wake, *self.asleep):
            os.close(end)
        self.asleep.clear()
        gc.disable()  # it lives for less than a second
        random.seed()  # no two copies wait alike
        if not os.read(sleep_end, 1):
            os._exit(1)  # the parent has gone

    def answer(self, do: Callable[[], object]) -> NoReturn:
        """Run ``do``, send its result or traceback to the parent, and end this copy."""
        try:
            answer = (True, do())
        except BaseException:  # noqa: BLE001 - the parent shows it
            answer = (False, traceback.format_exc())
        with os.fdopen(self._answer_end, "wb") as pipe:
            pickle.dump(answer, pipe)
        os._exit(0)

    def wake(self) -> None:
        """Let the copy begin."""
        os.write(self._wake, b".")
        self.asleep.remove(self._wake)
        os.close(self._wake)

    def listen(self) -> Any:  # noqa: ANN401 - the result of ``do``
        """Return the result of a copy that was woken.

        Raises
        ------
        AssertionError
            With the traceback of what ``do`` raised, or with the code that the copy ended with.
        """
        with os.fdopen(self._answer, "rb") as pipe:
            result = pipe.read()
        status = os.waitpid(self._pid, 0)[1]
        assert result, f"the copy ended with {os.waitstatus_to_exitcode(status)}"
        went_well, answer = pickle.loads(result)  # noqa: S301 - from ourselves
        assert went_well, answer
        return answer


def in_a_copy[T](do: Callable[[], T]) -> T:
    """Return the result of ``do`` in a copy; raise ``AssertionError`` where ``do`` raises."""
    copy = Copy()
    if copy.is_here:
        copy.answer(do)
    copy.wake()
    answer: T = copy.listen()
    return answer


def ask_all[K](copies: Mapping[K, Copy]) -> dict[K, Any]:
    """Wake all copies, as many at a time as there are cores; return their results."""
    asleep = iter(copies.values())
    for first in islice(asleep, os.process_cpu_count() or 1):
        first.wake()
    answers = {}
    for key, copy in copies.items():
        answers[key] = copy.listen()
        for following in islice(asleep, 1):
            following.wake()
    return answers
