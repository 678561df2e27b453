"""Read prototxts, and change their fields by settings such as `data.batch_size=4`.

    net = read_prototxt('net.prototxt', caffe_pb2.NetParameter())
    set_in_layer(net, 'data', 'batch_size', '4', 'net.prototxt')
"""

import re

import yaml
from caffe.proto import caffe_pb2, upgrade
from google.protobuf import text_format
from google.protobuf.message import Message

from deep_retrieval import store
from deep_retrieval.training.layer_parameters import param_values


def read_prototxt(path: str, message: Message) -> Message:
    """Parse a prototxt into `message`, and return it.

    Raises
    ------
    RuntimeError, ValueError
        The file cannot be read, or is not such a message. The error names file and line.
    """
    with store.reading(path, 'a prototxt'):
        return upgrade.read_prototxt(str(path), message)


def parse_setting(setting: str) -> tuple[str, str, str]:
    """Split 'data.batch_size=4' into 'data', 'batch_size' and '4'; layer names may have dots."""
    match = re.fullmatch(r'(.+)\.(\w+)=(.*)', setting)
    if not match:
        raise ValueError(f'--set {setting}: is not of the form NAME.FIELD=VALUE')
    return match.groups()


def set_in_layer(net: caffe_pb2.NetParameter, name: str, field: str, value: str, path: str) -> None:
    """Set a field of the layers `name`: in their *_param messages, or in their `param_str`.

    Parameters
    ----------
    net : NetParameter
        Changed in place.
    name, field, value : str
        The value is written as in a prototxt or, for a `param_str`, as in YAML.
    path : name of the net in messages

    Raises
    ------
    ValueError
        There is no such layer or field, or the value is invalid.
    """
    layers = [layer for layer in net.layer if layer.name == name]
    if not layers:
        raise ValueError(f'--set {name}.{field}: {path} has no layer {name!r}')
    for layer in layers:
        if layer.type == 'Python':
            _set_in_param_str(layer, field, value)
            continue
        owners = [part for descriptor, part in layer.ListFields()
                  if descriptor.name.endswith('_param') and field in part.DESCRIPTOR.fields_by_name]
        if not owners:
            raise ValueError(f'--set {name}.{field}: the layer has no {field!r}')
        set_field(owners[0], field, value, f'layer {name!r} has')


def _set_in_param_str(layer, field, value):
    values = param_values(layer.python_param.param_str, f'layer {layer.name!r}')
    try:
        values[field] = yaml.safe_load(value)
    except yaml.YAMLError:
        raise ValueError(f'--set {layer.name}.{field}={value}: is not a value in YAML') from None
    layer.python_param.param_str = str(values)


def set_field(message: Message, field: str, value: str, owner: str) -> None:
    """Set a field of a message from text, with or without quotes.

    owner : beginning of the error message if there is no such field: "layer 'data' has"
    """
    if field not in message.DESCRIPTOR.fields_by_name:
        raise ValueError(f'--set {field}: {owner} no field {field!r}')
    message.ClearField(field)
    quoted = '"' + value.replace('\\', '\\\\').replace('"', '\\"') + '"'
    for text in (value, quoted):
        try:
            text_format.Merge(f'{field}: {text}', message)
            return
        except text_format.ParseError:
            continue
    raise ValueError(f'--set {field}={value}: is not a valid value')
