"""What a case memory knows before an evaluated run: the cases of runs of the same scenario on other seeds.

Seeds 101 to 104 are never among those a policy is judged on. They run one after the other, each with what the ones
before it left, as a system would that is started again and again.
"""

from __future__ import annotations

from edgewise.control.rolling import product_rules
from edgewise.domain.errors import BadInput
from edgewise.twin.run import run
from evals.hindsight import Books
from evals.product import Product, settings_of
from evals.remembering import Remembering
from evals.scenario import Scenario
from evals.setting import Setting, setting
from memory.book import CaseBook

TRAIN_SEEDS = (101, 102, 103, 104)
GIVE_UP = 50.0  # as evals.simulate

_known: list[tuple[Scenario, CaseBook]] = []


def remembering_product(where: Setting, book: CaseBook, name: str) -> Product:
    """The product with case memory: it begins with what is in `book`, and adds to it."""
    chosen = settings_of(where)
    books = Books(where.arrivals.demand, chosen) if chosen.hindsight else None
    return Product(where, chosen, books=books, memory=Remembering(book, chosen, name))


def trained(scenario: Scenario, seed: int) -> CaseBook:
    """A memory of its own with the cases of the training runs, which are made once in a process. Raises BadInput for
    a seed that is one of theirs: it would be judged on what it has seen."""
    if seed in TRAIN_SEEDS:
        raise BadInput(f"the case memory is made of runs on seed {seed}", where="--seed", hint="choose another seed")
    book = next((b for known, b in _known if known == scenario), None)
    if book is None:
        book = CaseBook()
        for one in TRAIN_SEEDS:
            _train(scenario, one, book)
        _known.append((scenario, book))
    return CaseBook(cases=book.cases)


def _train(scenario: Scenario, seed: int, book: CaseBook) -> None:
    where = setting(scenario, seed)
    product = remembering_product(where, book, f"train-{seed}")
    twin = where.twin(product_rules(product.settings, scenario.shedding))
    run(twin, product, scenario.slot_s, GIVE_UP * scenario.duration_s)
