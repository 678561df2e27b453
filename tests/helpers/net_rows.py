"""The nets of data/nets/rows.txt written out, and the layers of a prototxt in the same form.

A layer is a dict: name, type, bottoms, tops, phase ('' for both), fields (sorted pairs of a name
and a value, whose message is not named) and params (name, lr_mult and decay_mult of each blob).
"""

import re
from functools import cache
from pathlib import Path

import numpy as np
from caffe.proto import caffe_pb2
from google.protobuf import text_format

PROTO = Path(__file__).resolve().parents[2] / 'proto'
ROWS = Path(__file__).parents[1] / 'data' / 'nets' / 'rows.txt'

# For the original author's places; a features.npy is its LMDB's neighbour.
PLACES = {
    '<training/cover_training_lmdb>': 'datasets/cover/training/cover_training_lmdb',
    '<training/Landmark_training_lmdb>': 'datasets/landmark/training/Landmark_training_lmdb',
    '<aug/paris_aug_lmdb>': 'datasets/Paris/aug/paris_aug_lmdb',
    '<val/val_oxford_lmdb>': 'datasets/Oxford/val/val_oxford_lmdb',
    '<aug/features.npy>': 'datasets/Paris/aug/features.npy',
    '<val/features.npy>': 'datasets/Oxford/val/features.npy',
    '<triplet/>': 'datasets/Paris/triplet/',
    '<clean/>': 'datasets/landmark/clean/',
    '<training/>': 'datasets/landmark/clean/',
    '<cls/>': 'datasets/landmark/test/',
}


def layer(name, layer_type, bottoms, tops, phase='', params=(), **fields):
    return dict(name=name, type=layer_type, bottoms=bottoms, tops=tops, phase=phase,
                fields=ordered(fields.items()), params=list(params))


def ordered(fields):
    """Sorted by name; values of one name keep their order."""
    return sorted(fields, key=lambda field: field[0])


# The prototxts

@cache
def read(path, message=caffe_pb2.NetParameter):
    return text_format.Parse((PROTO / path).read_text(), message())


def twin(path):
    """The path of the tiny net, or solver, of one of the original's."""
    for numbers in ((r'2048\b', '128'), (r'512\b', '32'), (r'256\b', '16'),
                    ('resnet101', 'resnet_tiny'), ('resnet50', 'resnet50_tiny')):
        path = re.sub(*numbers, path)
    return f'tiny/{path}' if '/' in path else path


def layer_of(message):
    """A LayerParameter in this form. What the rows know nothing of is among its fields."""
    fields, params, phase = [], [], ''
    for field, value in message.ListFields():
        if field.name == 'param':
            params = [spec(param) for param in value]
        elif field.name == 'include':
            phase = ' '.join(str(item) for rule in value for _, item in leaves(rule))
        elif field.name.endswith('_param'):
            fields += leaves(value)
        elif field.name not in ('name', 'type', 'bottom', 'top'):
            fields += [(field.name, item) for item in value]
    return dict(name=message.name, type=message.type, bottoms=list(message.bottom),
                tops=list(message.top), phase=phase, fields=ordered(fields), params=params)


def spec(param):
    """(name, lr_mult, decay_mult), None where not set; anything else comes behind."""
    known = ('name', 'lr_mult', 'decay_mult')
    return tuple([getattr(param, key) if param.HasField(key) else None for key in known]
                 + [value for field, value in param.ListFields() if field.name not in known])


def leaves(message, path=''):
    """(path, value) of each field that is set; a path is without its first and `shape`."""
    for field, value in message.ListFields():
        here = path + field.name
        for item in value if hasattr(value, 'extend') else [value]:
            if field.message_type:
                yield from leaves(item, '' if here == 'shape' else here + '.')
            else:
                name = field.enum_type.values_by_number[item].name if field.enum_type else item
                yield here, name


# The rows

def parsed(text):
    """A value of a row; a float as float32 holds it."""
    if text in ('True', 'False'):
        return text == 'True'
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(np.float32(text))
    except ValueError:
        return text


def row_layer(row):
    name, layer_type, blobs, *rest = row.split(' | ')
    bottoms, tops = (blob.split(',') for blob in re.split(' ?-> ', blobs))
    phase, fields, params = '', [], []
    for part in rest:
        if part in ('TRAIN', 'TEST'):
            phase = part
        elif part.startswith('param: '):
            params = row_params(part[len('param: '):])
        else:
            fields = [(key, parsed(value)) for key, value
                      in re.findall(r'(\S+?)=(\{[^}]*\}|\S+)', part)]
    return dict(layer(name, layer_type, [b for b in bottoms if b.strip()], tops, phase, params),
                fields=ordered(fields))


def row_params(text, name=''):
    """`-/2.0/-` or `<base>_w/0.0/0.0` ... as (name, lr_mult, decay_mult); `name` is the layer's."""
    if text == '(none)':
        return []
    found = []
    for one in text.split():
        blob, lr_mult, decay_mult = re.fullmatch(r'(.+)/([\d.]+|-)/([\d.]+|-)', one).groups()
        blob = blob.replace('<name>', name).replace('<base>', re.sub('^[lmhpn]_', '', name))
        found.append(tuple(None if value == '-' else parsed(value)
                           for value in (blob, lr_mult, decay_mult)))
    return found


BLOCKS = {'ResNet-101': [['a', 'b', 'c'], ['a', 'b1', 'b2', 'b3'],
                         ['a'] + [f'b{i}' for i in range(1, 23)], ['a', 'b', 'c']],
          'ResNet-50': ['abc', 'abcd', 'abcdef', 'abc']}


def naive_trunk(name, prefix):
    """The trunk from the words: every layer written out."""
    layers = []

    def add(name, layer_type, bottoms, top, **fields):
        layers.append(layer(prefix + name, layer_type, [prefix + b for b in bottoms],
                            [prefix + top], **fields))

    def conv(name, bottom, num_output, kernel_size, pad, stride, bias_term=False):
        add(name, 'Convolution', [bottom], name, num_output=num_output, kernel_size=kernel_size,
            pad=pad, stride=stride, bias_term=bias_term)
        x = name.replace('res', '') if 'res' in name else '_conv1'
        add('bn' + x, 'BatchNorm', [name], name, use_global_stats=True)
        add('scale' + x, 'Scale', [name], name, bias_term=True)

    conv('conv1', 'data', 64, 7, 3, 2, bias_term=name == 'ResNet-50')
    add('conv1_relu', 'ReLU', ['conv1'], 'conv1')
    add('pool1', 'Pooling', ['conv1'], 'pool1', pool='MAX', kernel_size=3, stride=2)
    bottom = 'pool1'
    for number, blocks, width in zip((2, 3, 4, 5), BLOCKS[name], (64, 128, 256, 512)):
        for letter in blocks:
            block = f'res{number}{letter}'
            stride = 2 if letter == 'a' and number > 2 else 1
            shortcut = bottom
            if letter == 'a':
                shortcut = block + '_branch1'
                conv(shortcut, bottom, width * 4, 1, 0, stride)
            a, b, c = (block + '_branch2' + letter for letter in 'abc')
            conv(a, bottom, width, 1, 0, stride)
            add(a + '_relu', 'ReLU', [a], a)
            conv(b, a, width, 3, 1, 1)
            add(b + '_relu', 'ReLU', [b], b)
            conv(c, b, width * 4, 1, 0, 1)
            add(block, 'Eltwise', [shortcut, c], block)
            add(block + '_relu', 'ReLU', [block], block)
            bottom = block
    return layers


def between(layers, first, last):
    names = [la['name'] for la in layers]
    return layers[names.index(first):names.index(last) + 1]


def expected_net(lines):
    """(name, layers) of the lines below a net's heading."""
    name, trunk_name = re.match(r'name=(\S+) trunk=(\S+)', lines[0]).groups()
    inputs = re.findall(r'input=(\w+) \[([\d,]+)\]', lines[0])
    layers = [dict(layer(blob, 'Input', [], [blob]),
                   fields=[('dim', int(dim)) for dim in shape.split(',')])
              for blob, shape in inputs]
    trunk = []      # the layers that came by shorthand
    for line in lines[1:]:
        span = re.match(r'\(trunk (\S+) \.\. (\S+)\)', line)
        if span:
            prefix = re.match('([lmhpn]_)?', span[1])[0]
            part = between(naive_trunk(trunk_name, prefix), *span.groups())
            trunk += part
            layers += part
        elif line.startswith('trunk '):
            carry(trunk, line)
        else:
            layers.append(row_layer(line))
            if inputs and 'layer=AggregateLayer' in line:
                # the one addition: the rois, so that images may have any number of regions
                layers[-1]['bottoms'].append(re.match('([lmh]_)?', line)[0] + 'rois')
    return name, layers


def carry(trunk, line):
    """What a line such as `trunk p_ Scale, 104 layers A .. B: param ...` says of the trunk."""
    layer_type = re.match(r'trunk (?:\w_ )?(\w+)', line)[1]
    count, first, last = re.search(r'(\d+) layers (\S+) \.\. ([^\s:]+)', line).groups()
    chosen = [la for la in between(trunk, first, last) if la['type'] == layer_type]
    assert len(chosen) == int(count), line
    for one in chosen:
        if 'use_global_stats false' in line:
            one['fields'] = [('use_global_stats', False)]
        elif 'weight_filler msra' in line:
            one['fields'] = ordered(one['fields'] + [('weight_filler.type', 'msra')])
        else:
            one['params'] = row_params(line.split(': param ')[1], one['name'])


def placed(text):
    """The rows of one net with our places."""
    for place, ours in PLACES.items():
        text = text.replace(place, ours)
    folder = re.search(r'source=(\S+/training/)', text)
    if folder:
        text = text.replace('<training/features.npy>', f'{folder[1]}features.npy')
    assert not re.search('<[a-z]+/', text)
    return text


def expected_nets():
    """path -> (name, layers) of every net."""
    nets = {}
    for part in ROWS.read_text().split('### ')[1:]:
        path, *lines = [line.strip() for line in placed(part).splitlines() if line.strip()]
        nets[path] = expected_net(lines)
    for file in ('deploy_resnet101_pca512', 'train_resnet101_student_pca512'):
        # "holds the same graphs"
        nets[f'distilling/pca512/{file}.prototxt'] = nets[f'triplet/pca512/{file}.prototxt']
    return nets
