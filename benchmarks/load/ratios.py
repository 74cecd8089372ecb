"""Ratios of what was measured: of each round by itself, since what slows one of them down slows the others too."""

from collections.abc import Callable, Iterable
from statistics import median

from benchmarks.load.contest import LIMIT, PRODUCT, Contest, Round

Seconds = Callable[[Round], float]


def load(one: Round) -> float:
    return one.load.seconds


def load_and_finish(one: Round) -> float:
    return one.load.seconds + one.finish.seconds


def all_three(one: Round) -> float:
    return load_and_finish(one) + one.proof.seconds


def proof(one: Round) -> float:
    return one.proof.seconds


def cpu(one: Round) -> float:
    """Of client and server, for the rows."""
    return one.load.client + one.load.server


def proof_cpu(one: Round) -> float:
    """The same for the proof."""
    return one.proof.client + one.proof.server


def with_start(seconds: Seconds) -> Seconds:
    """The product's with the time in which its process reads its code, which every peer's has in it."""
    return lambda one: one.start + seconds(one)


def of_table(name: str) -> Seconds:
    return lambda one: one.by_table[name]


def proof_of_table(name: str) -> Seconds:
    return lambda one: one.proof_by_table[name]


def of_tables(names: Iterable[str]) -> Seconds:
    chosen = list(names)
    return lambda one: sum(one.by_table[name] for name in chosen)


def ratio(contest: Contest, over: tuple[str, Seconds], under: tuple[str, Seconds]) -> float | None:
    """The median of the rounds' ratios; None where one of the two has no rounds, or has lost some of them."""
    (one, of_one), (other, of_other) = over, under
    tops, bottoms = contest.rounds.get(one, []), contest.rounds.get(other, [])
    if not tops or len(tops) != len(bottoms):
        return None
    return median(of_one(top) / of_other(bottom) for top, bottom in zip(tops, bottoms, strict=True))


def against_limit(contest: Contest, seconds: Seconds = load) -> float | None:
    """How many times the limit the product takes."""
    return ratio(contest, (PRODUCT, seconds), (LIMIT, seconds))


def faster_than(
    contest: Contest, peer: str, seconds: Seconds = load, of_peer: Seconds | None = None, product: str = PRODUCT
) -> float | None:
    """How many times faster than a peer the product is, over the tables that the peer could load."""
    rounds = contest.rounds.get(peer, [])
    if not rounds:
        return None
    if any(name not in one.by_table for one in rounds for name in contest.rounds[PRODUCT][0].by_table):
        shared = of_tables(rounds[0].by_table)
        return ratio(contest, (peer, shared), (product, with_start(shared)))
    return ratio(contest, (peer, of_peer or seconds), (product, with_start(seconds)))


def middle(contest: Contest, who: str, seconds: Seconds) -> float:
    return median(seconds(one) for one in contest.rounds[who])
