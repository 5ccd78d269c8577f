"""Damages that files suffer, and what a reader of damaged files is held to.

def test_damaged(tmp_path):
    path = write_a_good_one(tmp_path)
    fuzz(path, read, count=60)
"""

from tests.mutations.fuzzing import fuzz as fuzz
from tests.mutations.fuzzing import mutations as mutations
from tests.mutations.guard import Fault as Fault
from tests.mutations.guard import outcome as outcome
from tests.mutations.places import PLACES as PLACES
from tests.mutations.places import put_in_place as put_in_place
