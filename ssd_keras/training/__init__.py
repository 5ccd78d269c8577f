"""Training runs: recipe, run folder, the fit of one run, and detection over a whole data set."""

from ssd_keras.training.detection import detect_source as detect_source
from ssd_keras.training.recipe import Recipe as Recipe
from ssd_keras.training.run import RunSettings as RunSettings
from ssd_keras.training.run import train as train
from ssd_keras.training.run_folder import RunFolder as RunFolder
