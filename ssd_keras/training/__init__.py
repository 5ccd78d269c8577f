"""Training runs: recipe, run folder, the fit of one run, and detection over a whole data set."""

from ssd_keras.evaluation import detect_source as detect_source
from ssd_keras.run_folder import RunFolder as RunFolder
from ssd_keras.training.defaults import suggest as suggest
from ssd_keras.training.distribution import find_devices as find_devices
from ssd_keras.training.recipe import Recipe as Recipe
from ssd_keras.training.run import train as train
from ssd_keras.training.settings import RunSettings as RunSettings
