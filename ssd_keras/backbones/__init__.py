"""Core Networks: each turns an image into feature maps, finest first."""

from ssd_keras.backbones.applications import application_backbone as application_backbone
from ssd_keras.backbones.feature_maps import FeatureMap as FeatureMap
from ssd_keras.backbones.feature_maps import feature_maps as feature_maps
from ssd_keras.backbones.inception_v2 import inception_v2 as inception_v2
from ssd_keras.backbones.inception_v3 import inception_v3 as inception_v3
from ssd_keras.backbones.kerashub import from_kerashub as from_kerashub
from ssd_keras.backbones.kerashub import is_kerashub as is_kerashub
from ssd_keras.backbones.kerashub import kerashub_backbone as kerashub_backbone
from ssd_keras.backbones.mobiledet import mobiledet as mobiledet
from ssd_keras.backbones.mobilenet import mobilenet as mobilenet
from ssd_keras.backbones.mobilenet_v2 import mobilenet_v2 as mobilenet_v2
from ssd_keras.backbones.mobilenet_v3 import mobilenet_v3 as mobilenet_v3
from ssd_keras.backbones.mobilenet_v4 import mobilenet_v4 as mobilenet_v4
from ssd_keras.backbones.resnet import resnet50 as resnet50
from ssd_keras.backbones.resnet import resnet101 as resnet101
from ssd_keras.backbones.user_file import backbone_from_file as backbone_from_file
from ssd_keras.backbones.vgg import vgg16 as vgg16

# What it was called before.
own_backbone = backbone_from_file
