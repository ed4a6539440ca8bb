"""Fuzz one target under atheris.

atheris traces the code of the package that an input reaches, and keeps inputs that reach new code.

python -m tests.fuzz.engine TARGET [libFuzzer's options, folders and files]

With a file instead of folders the engine tries that one input.
"""

from __future__ import annotations

import json
import random
import sys
from typing import Any

import atheris

with atheris.instrument_imports(include=["flowverdict"]):
    from tests.fuzz.targets import TARGETS

# Values that replace other values of a JSON text.
_VALUES: tuple[object, ...] = (
    None, True, 0, -1, 1.5, 10**30, -(10**30), 65_535, 65_536, 2**63, float("nan"), float("inf"),
    "", "\0", "\n", "\ud800", "../", "%0A", "x" * 2_000, "-1", "0.0.0.0/0", "10.0.0.0/8", "::/0",
    "::ffff:10.0.0.1", "999.1.1.1", "9999-12-31T23:59:59-14:00",
    [], {}, [[[]]], "0001-01-01T00:00:00+14:00", {"": ""},
)  # fmt: skip


def mutated_json(data: bytes, choice: random.Random) -> bytes:
    """Change one value of a JSON text.

    Raises
    ------
    ValueError, RecursionError
        The text cannot be changed: it is not valid JSON, or is nested too deeply.
    """
    root = [json.loads(data)]
    places: list[tuple[Any, Any]] = [(root, 0)]  # a list and an index, or an object and a key
    for container, key in places:  # grows meanwhile
        value = container[key]
        if isinstance(value, dict):
            places += [(value, name) for name in value]
        elif isinstance(value, list):
            places += [(value, index) for index in range(len(value))]
    container, key = choice.choice(places)
    value = container[key]
    match choice.randrange(6):
        case 0:
            value = choice.choice(_VALUES)
        case 1:
            other, name = choice.choice(places)
            value = json.loads(json.dumps(other[name]))
        case 2:
            value = [value, value]
        case 3:
            value = json.dumps(value)
        case 4 if isinstance(value, str) and value:
            place = choice.randrange(len(value))
            value = (
                value[:place] + choice.choice("\0\n%.:/-+ 09aZ\u2028\ud800") + value[place + 1 :]
            )
        case _ if isinstance(container, dict):
            del container[key]
            return json.dumps(root[0]).encode()
        case _:
            pass
    container[key] = value
    return json.dumps(root[0]).encode()


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """Change JSON as JSON twice in three times, and as bytes otherwise."""
    choice = random.Random(seed)  # noqa: S311 - no secret
    if choice.randrange(3):
        try:
            changed = mutated_json(data, choice)
        except (ValueError, RecursionError):
            changed = b""
        if 0 < len(changed) <= max_size:
            return changed
    return bytes(atheris.Mutate(data, max_size))


def main() -> None:
    """Fuzz the target that the command line names."""
    name, *options = sys.argv[1:]
    target = TARGETS[name]

    def run(data: bytes) -> None:
        target.check(data)

    # For a merge libFuzzer starts itself anew, with the first argument as the command.
    # ``-len_control=0``: by default libFuzzer tries short inputs first, but crashes by long inputs
    # are to be found as well.
    command = [
        f"{sys.executable} -m tests.fuzz.engine {name}",
        f"-max_len={target.max_bytes}",
        "-len_control=0",
        *options,
    ]
    atheris.Setup(command, run, custom_mutator=mutate if target.is_json else None)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
