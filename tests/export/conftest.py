"""The small detector of the deploy tests and its files."""

from tests.deploy.conftest import detector as detector
from tests.deploy.conftest import float_file as float_file
from tests.deploy.conftest import int8_file as int8_file
