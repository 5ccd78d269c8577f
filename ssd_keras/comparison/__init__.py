"""Several models trained and measured under one budget, in one table.

Each run is a run folder of its own and a process of its own, so that a comparison goes on where it
was stopped, and the memory of one run is not that of the others.
"""

from ssd_keras.comparison.completing import complete as complete
from ssd_keras.comparison.jobs import cpu_shares as cpu_shares
from ssd_keras.comparison.jobs import on_cpus as on_cpus
from ssd_keras.comparison.measuring import machine as machine
from ssd_keras.comparison.tables import as_csv as as_csv
from ssd_keras.comparison.tables import histories as histories
from ssd_keras.comparison.tables import markdown as markdown
from ssd_keras.comparison.tables import results as results
from ssd_keras.comparison.tables import summarize as summarize
from ssd_keras.comparison.variants import MEASURED as MEASURED
from ssd_keras.comparison.variants import Run as Run
from ssd_keras.comparison.variants import Variant as Variant
from ssd_keras.comparison.variants import check_variants as check_variants
from ssd_keras.comparison.variants import parse_options as parse_options
from ssd_keras.comparison.variants import parse_variant as parse_variant
from ssd_keras.comparison.variants import runs_of as runs_of
from ssd_keras.comparison.variants import starts as starts
