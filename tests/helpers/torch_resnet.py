"""A small ResNet of PyTorch in torchvision's layout."""

from foreign_nets import Trunk
from torch import nn


class ResNet(Trunk):
    """torchvision's, with blocks and widths of deploy_resnet_tiny; it gives the last map."""

    def __init__(self):
        super().__init__(blocks=(1, 1, 1, 3), width=8)
        self.fc = nn.Linear(self.channels, 10)

    def stem(self, x):
        return self.bn1(self.conv1(x)).relu()
