"""The earlier place of `ssd_keras.drawing`, `figures` and `sheets`: all of them."""

from ssd_keras.drawing import class_color as class_color
from ssd_keras.drawing import draw_boxes as draw_boxes
from ssd_keras.drawing import draw_truth as draw_truth
from ssd_keras.drawing import matched_boxes as matched_boxes
from ssd_keras.drawing import side_by_side as side_by_side
from ssd_keras.figures import box_sizes as box_sizes
from ssd_keras.figures import class_counts as class_counts
from ssd_keras.figures import compared_curves as compared_curves
from ssd_keras.figures import confusion as confusion
from ssd_keras.figures import coverage as coverage
from ssd_keras.figures import error_costs as error_costs
from ssd_keras.figures import feature_pyramids as feature_pyramids
from ssd_keras.figures import precision_recall as precision_recall
from ssd_keras.figures import recall_bars as recall_bars
from ssd_keras.figures import save as save
from ssd_keras.figures import score_thresholds as score_thresholds
from ssd_keras.figures import training_curves as training_curves
from ssd_keras.sheets import fit as fit
from ssd_keras.sheets import grid as grid
from ssd_keras.sheets import legible as legible
