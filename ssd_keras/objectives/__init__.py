"""What is learned: targets and losses, one file for each idea."""

from ssd_keras.objectives.combinations import COMBINATIONS as COMBINATIONS
from ssd_keras.objectives.combinations import build_objective as build_objective
from ssd_keras.objectives.dense import Dense as Dense
from ssd_keras.objectives.multibox import MultiBox as MultiBox
from ssd_keras.objectives.objective import Objective as Objective
from ssd_keras.objectives.yolo import YoloObjective as YoloObjective
