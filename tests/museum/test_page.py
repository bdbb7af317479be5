"""The page of the museum says what there is."""

from __future__ import annotations

from tests.museum.exhibits import HALLS, Exhibit
from tests.museum.page import PAGE, page, played_by, problems
from tests.sim.mutants.mutants import ALL_MUTANTS

MUTANTS = {mutant.name: mutant.what for mutant in ALL_MUTANTS}


def test_every_exhibit_is_played_and_what_has_a_star_is_put_back() -> None:
    """Or says why not."""
    assert problems(played_by(), MUTANTS) == []


def test_the_page_is_up_to_date() -> None:
    """`python -m tests.museum.page` makes it anew."""
    assert PAGE.read_text(encoding="utf-8") == page(played_by(), MUTANTS)


def test_exhibits_are_in_order_and_there_once() -> None:
    """By their numbers, hall after hall."""
    ids = [exhibit.id for hall in HALLS for exhibit in hall.exhibits]
    assert ids == sorted(dict.fromkeys(ids))


def test_what_is_missing_is_named() -> None:
    """A test, a mutant, an exhibit."""
    tests = played_by()
    found = problems({name: of for name, of in tests.items() if name != "BM-001"} | {"BM-999": []}, {})
    assert "BM-001: no test, no reason" in found
    assert "BM-001: no mutant puts it back" in found
    assert "BM-999: tests, and no exhibit" in found
    assert not any("BM-122" in problem for problem in found)
    assert Exhibit("BM-122", "", "").unplayed == ""
