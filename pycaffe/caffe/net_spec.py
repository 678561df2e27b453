"""Write nets in Python.

    from caffe import layers as L, params as P, NetSpec

    n = NetSpec()
    n.data = L.Input(shape=dict(dim=[1, 3, 224, 224]))
    n.conv1 = L.Convolution(n.data, num_output=64, kernel_size=7, stride=2)
    n.relu1 = L.ReLU(n.conv1, in_place=True)
    n['pool1/max'] = L.Pooling(n.relu1, pool=P.Pooling.MAX, kernel_size=3)
    print(n.to_proto())

The name that a top is assigned to names the layer and its first top. `L.Type(bottom, ...,
field=value)` makes a layer of any type; a field is looked up in the type's own parameter message,
then in the layer itself. Messages are dicts, repeated fields are lists. `ntop` (default 1) is the
number of tops to return; `in_place=True` writes the top over the bottom.
"""

from collections import Counter

from .proto import caffe_pb2


def param_name_dict():
    """Return {layer type: its parameter field without `_param`}: {'Convolution': 'convolution'...}.

    A field of message type `XParameter` belongs to the layer type X, if that exists.
    """
    fields = caffe_pb2.LayerParameter.DESCRIPTOR.fields
    return {field.message_type.name[:-len('Parameter')]: field.name[:-len('_param')]
            for field in fields if field.name.endswith('_param')}


_PARAM_NAMES = param_name_dict()


def to_proto(*tops):
    """Return a NetParameter of all layers that `tops` need, named by type and number (`ReLU1`)."""
    return _build(tops, {})


def _build(tops, names):
    layers = {}                        # Function -> LayerParameter, in the net's order
    counts = Counter()
    for top in tops:
        top._to_proto(layers, names, counts)
    net = caffe_pb2.NetParameter()
    net.layer.extend(layers.values())
    return net


def assign_proto(proto, name, val):
    """Set the field `name` of a message: a dict is a message, a list a repeated field.

    A single value for a repeated field becomes a list of one. Enum values may be given by name.
    """
    field = proto.DESCRIPTOR.fields_by_name.get(name)
    if field is None:
        raise AttributeError(f'{proto.DESCRIPTOR.name} has no field {name!r}')
    target = getattr(proto, name)
    try:
        if hasattr(target, 'extend'):
            for item in val if isinstance(val, (list, tuple)) else [val]:
                if field.message_type:
                    _fill(target.add(), item)
                else:
                    target.append(_number(field, item))
        elif field.message_type:
            _fill(target, val)
        else:
            setattr(proto, name, _number(field, val))
    except (TypeError, ValueError) as error:
        raise _at(name, error) from None


def _at(place, error):
    """Return the error with its place before it, as a base type that takes only a message."""
    kind = next(k for k in (AttributeError, TypeError, ValueError) if isinstance(error, k))
    return kind(f'{place}: {error}')


def _fill(message, val):
    if isinstance(val, type(message)):
        message.CopyFrom(val)
    elif isinstance(val, dict):
        for key, item in val.items():
            assign_proto(message, key, item)
    else:
        raise TypeError(f'{message.DESCRIPTOR.name} must be a dict, not {val!r}')


def _number(field, val):
    """Return the number of an enum value given by name; any other value unchanged."""
    if field.enum_type is None or not isinstance(val, str):
        return val
    values = field.enum_type.values_by_name
    if val not in values:
        raise ValueError(f'{val!r} is not one of {", ".join(values.keys())}')
    return values[val].number


class Top:
    """One output blob of a layer: number `n` of Function `fn`."""

    def __init__(self, fn, n):
        self.fn = fn
        self.n = n

    def to_proto(self):
        """Return a NetParameter of all layers that this blob needs."""
        return to_proto(self)

    def _to_proto(self, layers, names, counts):
        self.fn._to_proto(layers, names, counts)


class Function:
    """A layer: its type, its inputs (Tops) and its parameters."""

    def __init__(self, type_name, inputs, params):
        for index, bottom in enumerate(inputs):
            if not isinstance(bottom, Top):
                raise TypeError(f'{type_name} input {index} is not a Top (type is {type(bottom)})')
        self.type_name = type_name
        self.inputs = inputs
        self.params = dict(params)
        self.ntop = self.params.pop('ntop', 1)
        self.in_place = self.params.pop('in_place', False)
        self.tops = tuple(Top(self, n) for n in range(self.ntop))

    def _to_proto(self, layers, names, counts):
        if self in layers:
            return
        layer = caffe_pb2.LayerParameter(type=self.type_name)
        for bottom in self.inputs:
            bottom.fn._to_proto(layers, names, counts)
            layer.bottom.append(layers[bottom.fn].top[bottom.n])
        if self.in_place:
            layer.top.extend(layer.bottom)
        else:
            layer.top.extend(self._name(top, names, counts) for top in self.tops)
        layer.name = self._name(self.tops[0] if self.tops else self, names, counts)
        for key, val in self.params.items():
            self._assign(layer, key, val)
        layers[self] = layer

    def _name(self, blob, names, counts):
        """Return the name given to a Top or to this layer; by default its type and a number."""
        if blob not in names:
            counts[self.type_name] += 1
            names[blob] = f'{self.type_name}{counts[self.type_name]}'
        return names[blob]

    def _assign(self, layer, key, val):
        own = _PARAM_NAMES.get(self.type_name)
        message = getattr(layer, f'{own}_param') if own else layer
        # `param`, `transform_param`... always belong to the layer
        if key.endswith('param') or key not in message.DESCRIPTOR.fields_by_name:
            message = layer
        if key not in message.DESCRIPTOR.fields_by_name:
            places = f'{own}_param or the layer' if own else 'the layer (no message of the type)'
            raise AttributeError(f'{self.type_name} {layer.name!r}: no field {key!r} in {places}')
        try:
            assign_proto(message, key, val)
        except (AttributeError, TypeError, ValueError) as error:
            raise _at(f'{self.type_name} {layer.name!r}', error) from None


class NetSpec:
    """Named tops, in order: `n.conv1 = L.Convolution(...)` or `n['a/b'] = ...`, then to_proto().

    >>> n = NetSpec()
    >>> n.data = layers.Input(shape={'dim': [1, 3]})
    >>> n.relu = layers.ReLU(n.data, in_place=True)
    >>> [(layer.name, layer.type, list(layer.top)) for layer in n.to_proto().layer]
    [('data', 'Input', ['data']), ('relu', 'ReLU', ['data'])]
    """

    def __init__(self):
        super().__setattr__('tops', {})

    def __setattr__(self, name, value):
        if not isinstance(value, (Top, Function)):
            raise TypeError(f'{name!r} must be one top or a layer without tops, not {value!r}')
        self.tops[name] = value

    def __getattr__(self, name):
        # `tops` itself is missing while a NetSpec is being copied
        if name != 'tops' and name in self.tops:
            return self.tops[name]
        raise AttributeError(f'the net has no top {name!r}')

    def __setitem__(self, name, value):
        setattr(self, name, value)

    def __getitem__(self, name):
        return self.tops[name]

    def to_proto(self):
        """Return a NetParameter of all layers that the named tops need, in the order of naming."""
        return _build(self.tops.values(), {top: name for name, top in self.tops.items()})


class Layers:
    """`L`: any attribute is a function that makes a layer of that type and returns its tops."""

    def __getattr__(self, name):
        if name.startswith('__'):      # special names that copy and inspect look up
            raise AttributeError(name)

        def layer_fn(*bottoms, **params):
            fn = Function(name, bottoms, params)
            if fn.ntop == 0:
                return fn
            return fn.tops[0] if fn.ntop == 1 else fn.tops
        return layer_fn


class Parameters:
    """`P`: the enum values of the parameter messages, as in `P.Pooling.MAX`."""

    def __getattr__(self, name):
        message = getattr(caffe_pb2, f'{name}Parameter', None)
        if message is None:
            raise AttributeError(f'there is no {name}Parameter')
        return message


layers = Layers()
params = Parameters()
