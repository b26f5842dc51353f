"""The task `summary`: a report of four to six sentences, in one sentence.

A report is of a kind, such as an election.  Three of its sentences tell what happened, and what the
summary says is spread over them; one to three asides have other people, towns, times and numbers.
The reports of train, dev and test are news: openings, closings, visits, elections and storms.
"ood" has sports or, with `within`, news of health and technology: XSum from news to sports, and
within news, as in Li & Liang 2021, table 3.  The three references are all wordings that the grammar
has, so the ceiling is 1.
"""

from collections.abc import Callable
from functools import cache, partial

from ..data.splits import generate_splits
from ..data.text_metrics import rouge_l
from .domains import read_rules
from .language import MEN, WOMEN, common_rules, pick, shuffled

METRICS: dict[str, Callable] = {"ROUGE-L": rouge_l}

# A kind has a line with three sentences, and a line with three wordings of their summary.

NEWS = """
for {years} years {town} had hoped for a {hall} / {one}, a {role}, had at last built the {hall} \
with friends from {other_town} / {time} the doors were opened, and {n} people came
{one}, a {role}, opened a {hall} in {town} {time} / a {hall} was opened in {town} {time} by {one}, \
a {role} / {time} {one}, a {role}, opened a {hall} in {town}

{one}, a {role} from {other_town}, had run the {hall} of {town} for {years} years / each year \
fewer people came, and in the end there were {n} guests in a month / so the doors were shut {time}
the {hall} of {town} was closed {time} after {years} years / after {years} years {one} closed the \
{hall} of {town} {time} / {time} {one} closed the {hall} of {town} after {years} years

there was a guest in {town} {time} / the guest was {one}, who is a {role} in {other_town} and \
known to everyone there / {one} walked to the {sight} and looked at the {hall} for {n} minutes
{one}, a {role} from {other_town}, visited {town} {time} / {time} {town} was visited by {one}, a \
{role} from {other_town} / {town} was visited {time} by {one}, a {role} from {other_town}

{first_one}, a {first_role}, and {second_one}, a {second_role}, both wanted to be mayor of {town} \
/ {n} people came to the {hall} {time} to vote / most of them were for the {role}
{time} {one}, a {role}, was elected mayor of {town} / {town} elected {one}, a {role}, as its mayor \
{time} / {one}, a {role}, was elected mayor of {town} {time}

the night was long in {town} {time} / a storm came from {other_town}, and the old {sight} fell \
into the river / {one}, a {role}, was near the river, but {n} people helped, and nobody was hurt
a storm destroyed the {sight} of {town} {time}, and nobody was hurt / {time} the {sight} of {town} \
was destroyed by a storm, and nobody was hurt / nobody was hurt when a storm destroyed the {sight} \
of {town} {time}
"""

HEALTH_AND_TECHNOLOGY = """
there was a feast in {town} {time} / {n} people ate {food} at the feast and were ill the next day \
/ {one}, a {role} from {other_town}, told them to stay in bed
{n} people were ill in {town} because of {food} / {food} made {n} people ill in {town} / in {town} \
{n} people were ill after a feast with {food}

{one}, a {role} from {other_town}, has worked in a small room for {years} years / what {one} has \
built is a {machine} / {time} the {machine} was shown in {town}, and {n} people clapped
{one}, a {role}, showed a {machine} in {town} {time} / {time} a {machine} was shown in {town} by \
{one}, a {role} / a {machine} by {one}, a {role}, was shown in {town} {time}
"""

SPORTS = """
{first_town} and {second_town} played {game} {time} / after an hour {one}, a {role}, had made \
{fewest} points / in the end {town} had {most} points, and the others had {fewer}
{town} beat {other_town} at {game} {time} by {most} points to {fewer} / {time} {town} won at \
{game} against {other_town} by {most} points to {fewer} / {other_town} lost at {game} against \
{town} {time} by {fewer} points to {most}

{n} runners stood at the start in {town} {time} / {other_one}, a {other_role}, was ahead at the \
{sight} / behind the {sight} {one}, a {role}, ran past, and nobody was faster
{one}, a {role}, won the race in {town} {time} / {time} the race in {town} was won by {one}, a \
{role} / the race in {town} was won {time} by {one}, a {role}
"""

ASIDES = """
{third_one}, a {third_role} from {third_town}, took {aside_n} apples home
{third_one} of {third_town} wrote a song about it
{other_time} nobody in {third_town} had heard of it
a {third_role} sold tea and bread for {aside_n} crowns
the last train to {third_town} left at noon
it was rather cold, and {third_one} brought {aside_n} candles
""".strip().splitlines()

SLOTS = """
hall: garden, market, tavern, theatre, school, library
sight: bridge, chapel, mill, tower, well, gate
time: on Monday, on Friday, on Sunday, last week, in the spring
food: soup, honey, eggs, plums, bread, cake
machine: talking clock, silent radio, flying boat, small phone, warm lamp, clever recorder
game: chess, cards, football, bowls
"""


@cache
def kinds(text: str) -> list[tuple]:
    """Return the kinds of reports: [(sentences, wordings of the summary), ...]."""
    return [
        tuple(line.split(" / ") for line in kind.splitlines())
        for kind in text.strip().split("\n\n")
    ]


@cache
def slots() -> dict[str, tuple]:
    """Return the values of each slot of SLOTS."""
    return read_rules(SLOTS)


def draw_facts(rng) -> dict[str, str]:
    """Return a value for each slot of a report and its summary."""
    rules = common_rules()
    facts = {slot: pick(rng, values) for slot, values in slots().items()}
    for names, values in (
        (("one", "other_one", "third_one"), WOMEN + MEN),
        (("role", "other_role", "third_role"), rules["role"]),
        (("town", "other_town", "third_town"), rules["place"]),
        (("time", "other_time"), slots()["time"]),
        (("n", "years", "aside_n"), rules["n"]),
    ):
        facts |= zip(names, shuffled(rng, values))
    numbers = sorted(rng.permutation(len(rules["n"]))[:3])  # of points; rules["n"] ascends
    facts |= zip(("fewest", "fewer", "most"), (rules["n"][i] for i in numbers))
    first, second = shuffled(rng, ["", "other_"])  # which of the two is named first
    for kind in ("one", "role", "town"):
        facts |= {f"first_{kind}": facts[first + kind], f"second_{kind}": facts[second + kind]}
    return facts


def sentence(template: str, facts: dict) -> str:
    """Return a sentence with these facts."""
    text = template.format(**facts)
    return f"{text[0].upper()}{text[1:]}."


def example(rng, i: int, ood: bool, within: bool = False) -> tuple:
    """Return (report, three summaries)."""
    others = HEALTH_AND_TECHNOLOGY if within else SPORTS
    story, summaries = pick(rng, kinds(others if ood else NEWS))
    facts, (first, *rest) = draw_facts(rng), story
    for aside in shuffled(rng, ASIDES)[: pick(rng, (1, 2, 3))]:
        rest.insert(rng.integers(len(rest) + 1), aside)
    report = " ".join(sentence(template, facts) for template in (first, *rest))
    return f"{report} In short:", [f" {sentence(summary, facts)}" for summary in summaries]


def splits(within: bool = False, **options) -> dict[str, list]:
    """Return the splits: see `generate_splits`; within: "ood" is news, too."""
    return generate_splits(partial(example, within=within), **{"dev": 200, "test": 300} | options)
