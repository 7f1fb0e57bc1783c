import pytest

from benchmarks.accuracy import run
from benchmarks.accuracy_report import Record, targets


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return list(run(quick=True))


def test_every_promise_of_the_accuracy_page_is_kept_on_a_small_sample(records: list[Record]) -> None:
    for target in targets():
        judged = [record for record in records if target.covers(record)]
        assert judged, f"{target} was not measured"
        broken = [record for record in judged if target.ratio(record) > 1]
        assert not broken, f"{target}: {broken[:3]}"
