"""The page of results: what moving a database takes, beside the limit and beside other loaders."""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from benchmarks.load import ratios
from benchmarks.load.contest import LIMIT, LIMIT_AT_ONCE, OWN, PRODUCT, PRODUCT_AT_ONCE, Contest, Round
from benchmarks.load.meter import Cost
from benchmarks.load.peers import PEERS, QUICK
from benchmarks.load.results import Results
from benchmarks.load.scale import Grown
from benchmarks.load.workers import Table, lines
from benchmarks.pages import duration, table
from local.files import ROOT

PAGE = ROOT / "docs" / "speed.md"
PLOT = "speed.svg"
LEARNED = Path(__file__).with_name("learned.md")

ABOUT = """\
# Speed: near the cost of COPY

Made by `{command}`; do not edit. Everyone moves the same SQLite file into tables of the same types on the same
server, in turns, each in a database of its own and after a CHECKPOINT. Numbers are medians of the rounds, and a ratio
is the median of the ratios of the rounds.

* **product** is the migration as its tasks do it: `load`, with the guards of every value and the balance;
  `finish_schema`, keys, indexes, sequences, ANALYZE, foreign keys; `verify`, the proof of every value. One table after
  the other, and *two at once*, each by a process of its own, as the DAG's tasks do.
* **limit** is `psql \\copy` of ready files in COPY's binary form, which were written from the proved tables, and then
  the same keys, indexes, sequences and ANALYZE from scripts, on as many connections.
* The others move the rows; *keys and indexes* are those scripts' for them too.
* The product's seconds begin when its process has read its code, as psql has at once; that takes {start}, and it is
  added wherever the product is compared with another loader.
* **No ratio is printed for a load that the proof did not pass.** Tables that were filled by others are compared with
  the proved ones by hashes of all their rows; what differs is said.
* CPU is that of the client's processes and of the server's, memory is what the client had resident at most.
"""


def page(results: Results) -> str:
    """The whole page."""
    start = max((ratios.middle(one, PRODUCT, lambda r: r.start) for one in results.contests.values()), default=0)
    parts = [
        ABOUT.format(command=results.command, start=duration(start)),
        _in_short(results),
        _bounds([results.contests[name] for name in ("widgettdc", "narrow", "blobs") if name in results.contests]),
        f"![How many times the limit]({PLOT})\n",
        *(_contest(one) for one in results.contests.values()),
        _tiny(results),
        _growth("Rows", "rows", results.rows),
        _growth("Tables", "tables", results.tables),
        _workers(results),
        LEARNED.read_text("utf-8"),
        "## Where this was measured\n",
        table(("environment", ""), list(results.environment.items())).replace("---:", "---"),
        _versions(results),
    ]
    return "\n".join(part for part in parts if part)


def _factor(factor: float | None) -> str:
    return "–" if factor is None else f"**{factor:.2f} ×**"


IN_SHORT = """\
The goals are for the full form, on a machine of one's own; with little data the fixed cost of a step is most of it.
Each part below says how many processes wanted a core before it began: with more of them than there are cores, the clock
tells less than the CPU, of which everybody needs what he needs.
"""
Goal = tuple[str, str, float | None]
"""What is measured, its goal, and what it is."""


def _in_short(results: Results) -> str:
    """Each goal, and what was measured."""
    goals = [
        *(_of_widgettdc(results.contests["widgettdc"]) if "widgettdc" in results.contests else ()),
        *(
            (f"{results.contests[name].dataset.title} ÷ limit", goal, ratios.against_limit(results.contests[name]))
            for name, goal in (("narrow", "≤ 1.20"), ("blobs", "≤ 1.10"))
            if name in results.contests
        ),
        *_of_growth(results),
    ]
    rows = [(what, goal, _shown(value), _met(goal, value)) for what, goal, value in goals]
    return "\n".join(["## In short\n", IN_SHORT, table(("", "goal", "measured", ""), rows)])


BOUNDS = """\
### What bounds them

Nothing that copies these rows is further ahead of pgloader than the limit is. And what has to be done takes so much CPU
that so many cores would have to be busy all the time, without a moment of waiting, to do it in the time of the goal.
"""


def _bounds(contests: Sequence[Contest]) -> str:
    pgloader, limit, product = "pgloader", LIMIT, PRODUCT
    bounds = [
        ("pgloader ÷ limit, rows", (pgloader, ratios.load), (limit, ratios.load)),
        ("pgloader ÷ limit, rows, keys, indexes", (pgloader, ratios.load_and_finish), (limit, ratios.load_and_finish)),
        ("cores for the rows, in the limit's time", (product, ratios.cpu), (limit, ratios.load)),
        (
            "cores for the proof, in 0.6 times the load's time",
            (product, ratios.proof_cpu),
            (product, lambda one: 0.6 * ratios.load(one)),
        ),
    ]
    rows = [(what, *(_shown(ratios.ratio(one, over, under)) for one in contests)) for what, over, under in bounds]
    return "\n".join([BOUNDS, table(("", *(one.dataset.title for one in contests)), rows)])


def _of_widgettdc(contest: Contest) -> list[Goal]:
    wide, whole = ratios.of_table("memory_entities"), ratios.load_and_finish
    per_table = [
        ratios.ratio(contest, ("pgloader", seconds), (PRODUCT, seconds))
        for seconds in map(ratios.of_table, _names(contest))
    ]
    proved = ratios.ratio(contest, (PRODUCT, ratios.proof), (PRODUCT, ratios.load))
    return [
        ("wide rows with JSON and times ÷ limit", "≤ 1.10", ratios.against_limit(contest, wide)),
        ("all rows ÷ limit", "", ratios.against_limit(contest)),
        ("rows, keys, indexes, ANALYZE ÷ limit", "≤ 1.25", ratios.against_limit(contest, whole)),
        ("proof of every value ÷ load", "≤ 0.60", proved),
        ("pgloader ÷ product, rows", "", ratios.faster_than(contest, "pgloader")),
        ("pgloader ÷ product, rows, keys, indexes", "≥ 4.50", ratios.faster_than(contest, "pgloader", whole)),
        ("pgloader ÷ product, the least of a table", "≥ 4.00", min((f for f in per_table if f), default=None)),
        (
            "pgloader's rows ÷ product's rows, keys, indexes and proof",
            "≥ 2.50",
            ratios.faster_than(contest, "pgloader", ratios.all_three, ratios.load),
        ),
        ("ingestr ÷ product, rows", "≥ 1.30", ratios.faster_than(contest, "ingestr")),
        *_of_cpu(contest),
        *_at_once(contest),
    ]


def _at_once(contest: Contest) -> list[Goal]:
    """The same with two tables at once, which is how the DAG goes about it."""
    product, limit, whole = PRODUCT_AT_ONCE, LIMIT_AT_ONCE, ratios.load_and_finish
    return [
        (
            "two at once: all rows ÷ limit, two at once",
            "",
            ratios.ratio(contest, (product, ratios.load), (limit, ratios.load)),
        ),
        (
            "two at once: rows, keys, indexes ÷ limit, two at once",
            "",
            ratios.ratio(contest, (product, whole), (limit, whole)),
        ),
        (
            "two at once: rows, keys, indexes ÷ limit, one by one",
            "",
            ratios.ratio(contest, (product, whole), (LIMIT, whole)),
        ),
        ("two at once: proof ÷ load", "", ratios.ratio(contest, (product, ratios.proof), (product, ratios.load))),
        ("two at once: pgloader ÷ product, rows", "", ratios.faster_than(contest, "pgloader", product=product)),
        (
            "two at once: pgloader ÷ product, rows, keys, indexes",
            "≥ 4.50",
            ratios.faster_than(contest, "pgloader", whole, product=product),
        ),
        (
            "two at once: pgloader's rows ÷ product's rows, keys, indexes and proof",
            "≥ 2.50",
            ratios.faster_than(contest, "pgloader", ratios.all_three, ratios.load, product),
        ),
    ]


def _of_cpu(contest: Contest) -> list[Goal]:
    """CPU of client and server together, for the rows."""
    pairs = [(PRODUCT, LIMIT), *((peer, PRODUCT) for peer in QUICK)]
    return [
        (
            f"{over} ÷ {under}, CPU of client and server",
            "",
            ratios.ratio(contest, (over, ratios.cpu), (under, ratios.cpu)),
        )
        for over, under in pairs
    ]


def _of_growth(results: Results) -> list[Goal]:
    steps = [cost for one in (*results.rows, *results.tables) for cost in one.costs.values()]
    steps += [one.assess for one in results.rows if one.assess]
    steps += [
        cost for one in results.contests.values() for r in one.rounds[PRODUCT] for cost in (r.load, r.finish, r.proof)
    ]
    goals: list[Goal] = [
        ("memory of any step, MB", "≤ 250", max(one.resident for one in steps) / 1e6 if steps else None)
    ]
    for unit, grown in (("row", results.rows), ("table", results.tables)):
        if len(grown) > 1:
            each = [one.costs["load"].seconds / one.number for one in grown]
            goals.append((f"load per {unit}, largest ÷ smallest database", "≤ 1.15", each[-1] / each[0]))
    if results.sample:
        goals.append(("the sample of ./run, all steps, s", "≤ 3.00", results.sample.seconds))
    return goals


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:,.2f}" if value < 100 else f"{value:,.0f}"


def _met(goal: str, value: float | None) -> str:
    if not goal or value is None:
        return ""
    bound = float(goal[2:])
    return "met" if (value <= bound if goal.startswith("≤") else value >= bound) else "not met"


def _names(contest: Contest) -> list[str]:
    """The tables, the slowest first."""
    first = contest.rounds[PRODUCT][0].by_table
    return sorted(first, key=lambda name: -first[name])


def _contest(contest: Contest) -> str:
    title = f"{contest.dataset.title}: {contest.rows:,} rows, {contest.dataset.megabytes:,.0f} MB of SQLite"
    parts = [
        f"## {title}\n",
        f"{contest.bytes / 1e6:,.0f} MB in COPY's binary form, rounds: {len(contest.rounds[PRODUCT])}; before it began,"
        f" {contest.busy:.1f} processes wanted a core.\n",
        _whole(contest),
    ]
    if len(_names(contest)) > 1:
        parts.append(_by_table(contest))
    return "\n".join([*parts, _remarks(contest)])


def _whole(contest: Contest) -> str:
    def cell(who: str, cost: Callable[[Round], Cost], number: Callable[[Cost], str]) -> str:
        costs = sorted((cost(one) for one in contest.rounds[who]), key=lambda one: one.seconds)
        return number(costs[len(costs) // 2])

    rows = []
    for who in sorted(contest.rounds, key=lambda who: ratios.middle(contest, who, ratios.load)):
        finished = any(one.finish.seconds for one in contest.rounds[who])
        against = ratios.ratio(contest, (who, ratios.load), (LIMIT, ratios.load)) if whole_load(contest, who) else None
        rows.append(
            [
                who,
                cell(who, lambda one: one.load, lambda cost: duration(cost.seconds)),
                _factor(against),
                cell(who, lambda one: one.load, lambda cost: f"{cost.client:.2f} + {cost.server:.2f} s"),
                cell(who, lambda one: one.load, lambda cost: f"{cost.resident / 1e6:,.0f} MB"),
                cell(who, lambda one: one.load, lambda cost: f"{cost.wal / 1e6:,.0f} MB"),
                cell(who, lambda one: one.load + one.finish, lambda c: duration(c.seconds)) if finished else "–",
                cell(who, lambda one: one.proof, lambda c: duration(c.seconds)) if PRODUCT in who else "–",
                "" if who in OWN else _factor(ratios.faster_than(contest, who)),
            ]
        )
    headings = ("", "rows", "÷ limit", "CPU client + server", "memory", "WAL", "with keys and indexes", "proof",
                "÷ product")  # fmt: skip
    before = contest.rounds[PRODUCT][0].before
    told = ", ".join(
        f"{name} {duration(ratios.middle(contest, PRODUCT, lambda one, name=name: one.before[name].seconds))}"  # type: ignore[misc]
        for name in before
    )
    return table(headings, rows) + f"\nBefore its load, the product: {told}.\n"


def whole_load(contest: Contest, who: str) -> bool:
    """Whether all its rounds loaded every table."""
    return not any(one.failed for one in contest.rounds[who])


def _by_table(contest: Contest) -> str:
    others = [who for who in contest.rounds if who not in OWN]
    rows = []
    for name in _names(contest):
        seconds = ratios.of_table(name)
        proved = ratios.ratio(contest, (PRODUCT, ratios.proof_of_table(name)), (PRODUCT, seconds))
        line = [
            name,
            duration(ratios.middle(contest, PRODUCT, seconds)),
            duration(ratios.middle(contest, LIMIT, seconds)),
            _factor(ratios.against_limit(contest, seconds)),
            _factor(proved),
        ]
        for who in others:
            known = all(name in one.by_table for one in contest.rounds[who])
            line.append(_factor(ratios.ratio(contest, (who, seconds), (PRODUCT, seconds))) if known else "–")
        rows.append(line)
    return table(("", "product", "limit", "÷ limit", "proof ÷ load", *(f"{who} ÷ product" for who in others)), rows)


def _remarks(contest: Contest) -> str:
    told = [f"* **{who}** gave up: {why}" for who, why in contest.given_up.items()]
    words = {peer.name: peer for peer in PEERS}
    for who, rounds in contest.rounds.items():
        if who not in words:
            continue
        said = [f"* {who}: {words[who].words}"]
        if words[who].own_tables:
            said.append("it makes tables of its own, which are not compared")
        said += [f"{name} failed: {why}" for name, why in rounds[0].failed.items()]
        if rounds[0].differing:
            said.append("not as the source has it: " + ", ".join(f"{n} ({w})" for n, w in rounds[0].differing.items()))
        elif not words[who].own_tables:
            said.append("what it loaded equals the proved rows")
        told.append("; ".join(said) + ".")
    return "\n".join(told) + "\n"


def _tiny(results: Results) -> str:
    if not results.tiny:
        return ""
    found = results.tiny
    rows = [
        ["product, all by one process: every step, the proof included", duration(found.together)],
        ["product, a process for each, which reads its code first", duration(found.apart)],
        ["pgloader, a process for each: rows, keys and indexes", duration(found.pgloader) if found.pgloader else "–"],
    ]
    return f"## {found.databases} tiny databases\n\n" + table(("", "the middle one"), rows)


def _growth(title: str, unit: str, grown: Sequence[Grown]) -> str:
    if not grown:
        return ""

    def per(one: Grown, step: str) -> str:
        return duration(one.costs[step].seconds / one.number)

    rows = []
    for one in grown:
        memory = [f"{one.costs[step].resident / 1e6:,.0f}" for step in ("load", "finish_schema", "verify")]
        assess = [f"{one.assess.resident / 1e6:,.0f}", duration(one.assess.seconds)] if one.assess else ["–", "–"]
        rows.append(
            [
                f"{one.number:,} {unit}",
                *(per(one, step) for step in ("load", "finish_schema", "verify")),
                *memory,
                *assess,
            ]
        )
    headings = (title, "load", "keys", "proof", "load, MB", "keys, MB", "proof, MB", "assessment, MB", "assessment")
    return f"## {title}: time for each, and memory\n\n" + table(headings, rows)


def _workers(results: Results) -> str:
    """What more workers would give, by the CPU that the loads took."""
    measured = []
    for name in ("widgettdc", "narrow", "blobs"):
        if name not in results.contests:
            continue
        contest = results.contests[name]
        costs = [one.load for one in contest.rounds[PRODUCT]]
        client, server = (median(getattr(cost, side) for cost in costs) for side in ("client", "server"))
        measured.append(Table.measured(contest.dataset.title, contest.rows, contest.bytes, client, server))
    return "\n".join([WORKERS, *lines(measured), ""]) if measured else ""


WORKERS = """\
## One large table and many workers: a model

A table that is loaded in ranges of its key, each by one process and one backend, on a server of its own. CPU is as
measured above; *in parentheses* stands what bounds it; *full from* the number of workers from which more bring nothing.
"""


def _versions(results: Results) -> str:
    told = [f"* {name}: {version}" for name, version in results.versions.items()]
    told += [f"* {name} could not be had here: {why}" for name, why in results.missing.items()]
    return "\n".join(told) + "\n"
