"""A small ResNet of PyTorch in torchvision's layout."""

from torch import nn


class Bottleneck(nn.Module):
    def __init__(self, inputs, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn1, self.bn2, self.bn3 = (nn.BatchNorm2d(n) for n in (width, width, 4 * width))
        self.downsample = None
        if stride > 1 or inputs != 4 * width:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, 4 * width, 1, stride, bias=False),
                                            nn.BatchNorm2d(4 * width))

    def forward(self, x):
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn3(self.conv3(self.bn2(self.conv2(y)).relu()))
        return (y + (self.downsample(x) if self.downsample else x)).relu()


class ResNet(nn.Module):
    """torchvision's, up to the last convolution, with blocks and widths of deploy_resnet_tiny."""

    def __init__(self, blocks=(1, 1, 1, 3), widths=(8, 16, 32, 64)):
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        inputs = widths[0]
        for i, (count, width) in enumerate(zip(blocks, widths), 1):
            stage = []
            for j in range(count):
                stage.append(Bottleneck(inputs, width, 2 if i > 1 and j == 0 else 1))
                inputs = 4 * width
            setattr(self, f'layer{i}', nn.Sequential(*stage))
        self.fc = nn.Linear(inputs, 10)

    def stem(self, x):
        return self.bn1(self.conv1(x)).relu()

    def forward(self, x):
        x = nn.functional.max_pool2d(self.stem(x), 3, 2, 1)
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))
