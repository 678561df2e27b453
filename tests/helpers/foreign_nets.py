"""Small networks of plain torch.nn with the tensor names of other projects, and random weights."""

from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    """A residual block of torchvision's ResNets; `pooled` as in timm's ResNet-D."""

    def __init__(self, inputs, inner, outputs, stride, groups, bottleneck, pooled):
        super().__init__()
        if bottleneck:
            sizes = [(inputs, inner, 1, 1, 1), (inner, inner, 3, stride, groups),
                     (inner, outputs, 1, 1, 1)]
        else:
            sizes = [(inputs, inner, 3, stride, 1), (inner, outputs, 3, 1, 1)]
        self.count = len(sizes)
        for i, (a, b, kernel, step, group) in enumerate(sizes, 1):
            setattr(self, f'conv{i}', nn.Conv2d(a, b, kernel, step, kernel // 2, groups=group,
                                                bias=False))
            setattr(self, f'bn{i}', nn.BatchNorm2d(b))
        self.downsample = None
        if stride > 1 or inputs != outputs:
            norm = nn.BatchNorm2d(outputs)
            if pooled:
                pool = nn.AvgPool2d(2, stride, ceil_mode=True, count_include_pad=False)
                self.downsample = nn.Sequential(pool if stride > 1 else nn.Identity(),
                                                nn.Conv2d(inputs, outputs, 1, bias=False), norm)
            else:
                self.downsample = nn.Sequential(
                    nn.Conv2d(inputs, outputs, 1, stride, bias=False), norm)

    def forward(self, x):
        y = x
        for i in range(1, self.count + 1):
            y = getattr(self, f'bn{i}')(getattr(self, f'conv{i}')(y))
            y = y.relu() if i < self.count else y
        return (y + (x if self.downsample is None else self.downsample(x))).relu()


class Trunk(nn.Module):
    """A ResNet up to its last map."""

    def __init__(self, blocks=(1, 2, 1, 2), width=8, groups=1, bottleneck=True, deep=False,
                 pooled=False):
        super().__init__()
        if deep:
            half = width // 2
            self.conv1 = nn.Sequential(
                nn.Conv2d(3, half, 3, 2, 1, bias=False), nn.BatchNorm2d(half), nn.ReLU(),
                nn.Conv2d(half, half, 3, 1, 1, bias=False), nn.BatchNorm2d(half), nn.ReLU(),
                nn.Conv2d(half, width, 3, 1, 1, bias=False))
        else:
            self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu, self.maxpool = nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        inputs = width
        for i, count in enumerate(blocks):
            inner = width * 2 ** i * (2 if groups > 1 else 1)
            outputs = width * 2 ** i * (4 if bottleneck else 1)
            layers = []
            for j in range(count):
                layers.append(Block(inputs, inner, outputs, 2 if i and not j else 1, groups,
                                    bottleneck, pooled))
                inputs = outputs
            setattr(self, f'layer{i + 1}', nn.Sequential(*layers))
        self.channels = inputs

    def last_map(self, x):
        x = self.maxpool(self.bn1(self.conv1(x)).relu())
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    forward = last_map


class Power(nn.Module):
    """GeM with its power as the parameter p."""

    def __init__(self, p):
        super().__init__()
        self.p = nn.Parameter(torch.tensor([float(p)]))

    def forward(self, x):
        return gem(x, self.p)


class Naver(Trunk):
    """deep-image-retrieval's, with the options of its checkpoints."""

    def __init__(self, out_dim=24, pooling='gem', norm_features=False, without_fc=False, **trunk):
        super().__init__(**trunk)
        self.options = {'arch': 'resnet50_rmac', 'out_dim': out_dim, 'pooling': pooling,
                        'norm_features': norm_features, 'without_fc': without_fc, 'gemp': 3}
        self.adpool = {'gem': Power(2.7), 'max': nn.AdaptiveMaxPool2d(1),
                       'avg': nn.AdaptiveAvgPool2d(1)}[pooling]
        self.fc = nn.Linear(self.channels, out_dim)

    def forward(self, x):
        x = self.adpool(self.last_map(x)).flatten(1)
        x = F.normalize(x) if self.options['norm_features'] else x
        return F.normalize(x if self.options['without_fc'] else self.fc(x))


class Cirtorch(nn.Module):
    """cnnimageretrieval-pytorch's, with its meta."""

    def __init__(self, pooling='gem', regional=False, whitening=False, local_whitening=False,
                 vgg=False, **trunk):
        super().__init__()
        if vgg:
            self.features = nn.Sequential(
                nn.Conv2d(3, 8, 3, 1, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU(),
                nn.MaxPool2d(2, 2), nn.Conv2d(8, 12, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2, 2),
                nn.Conv2d(12, 16, 3, 1, 1), nn.ReLU())
            dim = 16
        else:
            trunk = Trunk(**trunk)
            self.features = nn.Sequential(trunk.conv1, trunk.bn1, trunk.relu, trunk.maxpool,
                                          trunk.layer1, trunk.layer2, trunk.layer3, trunk.layer4)
            dim = trunk.channels
        self.lwhiten = nn.Linear(dim, dim) if local_whitening else None
        self.pool = nn.Module() if regional else Power(2.4) if pooling == 'gem' else None
        if regional:
            self.pool.rpool = Power(2.4) if pooling == 'gem' else None
            self.pool.whiten = nn.Linear(dim, dim)
        self.whiten = nn.Linear(dim, dim) if whitening else None
        self.meta = {'architecture': 'vgg16' if vgg else 'resnet50', 'pooling': pooling,
                     'regional': regional, 'whitening': whitening, 'outputdim': dim,
                     'local_whitening': local_whitening, 'mean': [0.47, 0.45, 0.41],
                     'std': [0.23, 0.22, 0.24]}

    def _pool_map(self, x):
        kind = self.meta['pooling']
        if kind == 'gem':
            return gem(x, (self.pool.rpool if self.meta['regional'] else self.pool).p)
        return x.mean((2, 3)) if kind == 'spoc' else x.amax((2, 3))

    def forward(self, x):
        x = self.features(x)
        if self.lwhiten is not None:
            x = self.lwhiten(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        if self.meta['regional'] or self.meta['pooling'] == 'rmac':
            rows = [l2(self._pool_map(x[:, :, top:top + side[0], left:left + side[1]]))
                    for top, left, side in map_regions(*x.shape[2:])]
            if self.meta['regional']:
                rows = [l2(self.pool.whiten(row)) for row in rows]
            x = l2(sum(rows))
        else:
            x = l2(self._pool_map(x))
        return x if self.whiten is None else l2(self.whiten(x))


class Sscd(nn.Module):
    """SSCD's with torchvision's names."""

    def __init__(self, dim=20, **trunk):
        super().__init__()
        self.backbone = Trunk(**trunk)
        self.backbone.fc = nn.Linear(self.backbone.channels, dim)

    def forward(self, x):
        x = self.backbone(x).clamp(min=1e-6).pow(3.0).mean((2, 3)).pow(1 / 3.0)
        return F.normalize(self.backbone.fc(x))


def classy_state(model, classy_block='._module'):
    """The state dict of an Sscd by the names of Classy Vision."""
    found = OrderedDict()
    for name, value in model.state_dict().items():
        parts = name.removeprefix('backbone.').split('.')
        if parts[0] in ('conv1', 'bn1'):
            new = f'initial_block._module.{int(parts[0] == "bn1")}.{parts[1]}'
        elif parts[0] == 'fc':
            found[f'embeddings.1.{parts[1]}'] = value
            continue
        else:
            stage, block, part, *rest = int(parts[0][-1]) - 1, *parts[1:]
            if part == 'bn3':
                part = 'bn'
            elif part != 'downsample':
                index = 3 * (int(part[-1]) - 1) + part.startswith('bn')
                part = f'convolutional_block.{index}'
            new = '.'.join([f'blocks.{stage}.block{stage}-{block}{classy_block}', part, *rest])
        found[f'backbone.{new}'] = value
    return found


def gem(x, p):
    """The generalized mean over the whole map."""
    return x.clamp(min=1e-6).pow(p).mean((2, 3)).pow(1 / p)


def l2(x):
    """As cnnimageretrieval-pytorch divides by the norm."""
    return x / (x.norm(dim=1, keepdim=True) + 1e-6)


def map_regions(H, W, levels=3):
    """Top, left and (height, width) of the regions of a map: the whole map, then squares."""
    found = [(0, 0, (H, W))]
    short = min(H, W)
    extra = 0
    if H != W:
        steps = (max(H, W) - short) / torch.arange(1.0, 7)      # in float32, as theirs
        extra = 1 + int(((short ** 2 - short * steps) / short ** 2 - 0.4).abs().argmin())
    for level in range(1, levels + 1):
        side = 2 * short // (level + 1)
        if side == 0:
            continue
        half = side // 2 - 1
        def starts(length, count, side=side, half=half):
            step = (length - side) / (count - 1) if count > 1 else 0
            return (torch.floor(half + torch.arange(float(count)) * step) - half).int().tolist()
        found += [(top, left, (side, side)) for top in starts(H, level + (extra if H > W else 0))
                  for left in starts(W, level + (extra if W > H else 0))]
    return found


def randomize(model, seed=0):
    """Give a model statistics and weights with which every layer counts; return it for testing."""
    torch.manual_seed(seed)
    for module in model.modules():
        if hasattr(module, 'reset_parameters'):
            module.reset_parameters()
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
    return model.eval().requires_grad_(False)
