"""What happens beside the gradient steps: progress, records, evaluation, checkpoints."""

from ssd_keras.training.callbacks.checkpoints import Checkpoints as Checkpoints
from ssd_keras.training.callbacks.checkpoints import RestoredMeans as RestoredMeans
from ssd_keras.training.callbacks.judging import Evaluation as Evaluation
from ssd_keras.training.callbacks.judging import Judged as Judged
from ssd_keras.training.callbacks.judging import copy_weights as copy_weights
from ssd_keras.training.callbacks.recorder import Recorder as Recorder
from ssd_keras.training.callbacks.recorder import is_best as is_best
from ssd_keras.training.callbacks.recorder import is_stalled as is_stalled
from ssd_keras.training.callbacks.recorder import predictions_picture as predictions_picture
from ssd_keras.training.callbacks.steps import ProgressLine as ProgressLine
from ssd_keras.training.callbacks.steps import StepCounter as StepCounter
from ssd_keras.training.callbacks.steps import duration as duration
from ssd_keras.training.callbacks.watches import Explosion as Explosion
from ssd_keras.training.callbacks.watches import LossWatch as LossWatch
from ssd_keras.training.callbacks.watches import ReadWatch as ReadWatch
