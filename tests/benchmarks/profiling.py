"""Where the time of our side of a contest goes, in all of its threads."""

import cProfile
import pstats
import threading

from tests.benchmarks.contest import Contest

TOP = 40


def show(contest: Contest) -> None:
    """Print the functions in which `contest.ours` spends most, by cumulative time."""
    contest.ours()
    profiles: list[cProfile.Profile] = []

    def start(*_: object) -> None:
        """Take the place of this hook, in the thread that calls it first."""
        profiles.append(cProfile.Profile())
        profiles[-1].enable()

    threading.setprofile(start)
    main = cProfile.Profile()
    main.enable()
    try:
        contest.ours()
    finally:
        main.disable()
        threading.setprofile(None)
    print(f"{contest.what}: by cumulative time")
    total = pstats.Stats(main)
    for each in profiles:
        total.add(each)
    total.sort_stats("cumulative").print_stats(TOP)
