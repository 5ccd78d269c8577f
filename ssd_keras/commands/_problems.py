"""What is wrong with data, by kind, and the flag that says how much of it is printed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from absl import flags

from ssd_keras.data import Problem

FLAGS = flags.FLAGS
flags.DEFINE_integer("show", 20, "Problems of each kind that are printed one by one; 0 for all.")


def show(problems: Sequence[Problem]) -> None:
    """Prints problems by kind, with their places and what is done about them."""
    most = FLAGS.show
    if not problems:
        print("\nNo problem found.")
    kinds = defaultdict(list)
    for problem in problems:
        kinds[problem.kind, problem.action].append(problem)
    for (kind, action), found in sorted(kinds.items(), key=lambda item: item[0][1]):
        print(f"\n{kind}: {len(found)} {action}")
        lines = [f"{problem.place}: {problem.message}" for problem in found]
        if most:
            lines = _without_repeats(found)
        for line in lines[: most or None]:
            print(f"  {line}")
        if most and len(lines) > most:
            print(f"  ... and {len(lines) - most} more (--show=0 prints all)")


def _without_repeats(problems: Sequence[Problem]) -> list[str]:
    """A line for each message, with its first place and how often it is said."""
    first, count = {}, Counter(problem.message for problem in problems)
    for problem in problems:
        first.setdefault(problem.message, problem.place)
    return [
        f"{place}: {message}" + (f" ({count[message]:,} times)" if count[message] > 1 else "")
        for message, place in first.items()
    ]
