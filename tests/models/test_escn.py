from functools import partial

from isometry.models import ESCN
from tests.models.equivariant_suite import AtomisticCase, AtomisticSuite

SMALL = partial(ESCN, [6, 1, 8], cutoff=3.0, channels=4, radial=6)


class TestESCN(AtomisticSuite):
    cases = (
        AtomisticCase(lambda: SMALL(lmax=2, mmax=2), "SO(3)", group="SO(3)"),
        AtomisticCase(lambda: SMALL(lmax=3, mmax=1, hidden=6, group="O(3)"), "O(3), mmax < lmax"),
        AtomisticCase(lambda: SMALL(lmax=2, mmax=1, layers=1, heads=2), "attention", group="SO(3)"),
        AtomisticCase(lambda: SMALL(lmax=1, mmax=0, group="O(3)", heads=1), "attention, O(3)"),
    )
