"""Core Networks: each turns an image into feature maps, finest first."""

from ssd_keras.backbones.feature_maps import FeatureMap as FeatureMap
from ssd_keras.backbones.feature_maps import feature_maps as feature_maps
from ssd_keras.backbones.mobilenet import mobilenet as mobilenet
