"""Box Networks: each turns the feature maps of a Core Network into boxes."""

from ssd_keras.box_networks.ssd import SSD as SSD
