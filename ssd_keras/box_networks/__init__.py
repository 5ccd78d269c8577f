"""Box Networks: each turns the feature maps of a Core Network into boxes."""

from ssd_keras.box_networks.anchor_rules import ListedAnchors as ListedAnchors
from ssd_keras.box_networks.anchor_rules import MultiscaleAnchors as MultiscaleAnchors
from ssd_keras.box_networks.anchor_rules import PercentAnchors as PercentAnchors
from ssd_keras.box_networks.anchor_rules import ScaleAnchors as ScaleAnchors
from ssd_keras.box_networks.dssd import DSSD as DSSD
from ssd_keras.box_networks.extras import Extra as Extra
from ssd_keras.box_networks.fpn import FPN as FPN
from ssd_keras.box_networks.fpn import FPNLite as FPNLite
from ssd_keras.box_networks.fpn import PANLite as PANLite
from ssd_keras.box_networks.protocol import BoxNetwork as BoxNetwork
from ssd_keras.box_networks.ssd import SSD as SSD
from ssd_keras.box_networks.yolo import YOLO as YOLO
