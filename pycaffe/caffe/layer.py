"""Layer, the contract of pycaffe; TensorLayer, which a built-in type derives from; the table TYPES."""

from .blob import Blob
from .errors import CaffeError
from .filler import fill

TYPES = {}      # prototxt type -> callable(layer_param, phase) that makes the layer


class BlobVec(list):
    """A layer's parameters; `add_blob(*shape)` appends a new one, as in pycaffe."""

    def add_blob(self, *shape):
        self.append(Blob(shape))


class Layer:
    """What a net asks of a layer. Users' `type: "Python"` layers derive from it directly.

    `setup(bottom, top)` is called once, `reshape(bottom, top)` before each forward, then
    `forward(bottom, top)` and `backward(top, propagate_down, bottom)`; bottom and top are sequences
    of Blob. `blobs` holds the parameters, `phase` is caffe.TRAIN or caffe.TEST.
    """

    bottom_count = (0, None)    # least and most bottoms; None for any number
    top_count = (0, None)

    def __init__(self, layer_param, phase):
        self.layer_param = layer_param
        self.phase = phase
        self.type = layer_param.type
        self.blobs = BlobVec()

    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        pass

    def forward(self, bottom, top):
        pass

    def backward(self, top, propagate_down, bottom):
        pass


class TensorLayer(Layer):
    """A layer that is its maths: `shape` and `compute` over tensors, the rest is done here."""

    bottom_count = (1, 1)
    top_count = (1, 1)

    def shape(self, *bottom):
        """Bottom shapes in, a list of one shape per top out; by default bottom[0]'s for each."""
        return [bottom[0]] * self.num_top

    def compute(self, *bottom):
        """Bottom tensors in, the top's tensor out, or a tuple of one a top."""
        raise NotImplementedError

    def weight(self, index):
        """The tensor of parameter `index`."""
        return self.blobs[index].tensor

    def add_blob(self, shape, filler):
        """Append a parameter of this shape, filled as the FillerParameter says."""
        self.blobs.add_blob(*shape)
        fill(self.blobs[-1], filler)

    def axis(self, index, ndim):
        """An axis of a prototxt, negative ones counted from the end, as 0 .. ndim - 1."""
        if not -ndim <= index < ndim:
            raise CaffeError(f'axis {index} does not exist in a blob of {ndim} axes')
        return index % ndim

    def reshape(self, bottom, top):
        self.num_top = len(top)
        for blob, shape in zip(top, self.shape(*(blob.shape for blob in bottom))):
            blob.reshape(*shape)

    def forward(self, bottom, top):
        tensors = [blob.tensor for blob in bottom]
        release(top, bottom)
        result = self.compute(*tensors)
        for blob, value in zip(top, result if isinstance(result, tuple) else (result,)):
            blob.tensor = value


def release(top, bottom):
    """Let go of the tops' old values, unless a layer in place reads them.

    The memory is free for the new values then, which saves page faults and a second copy.
    """
    for blob in top:
        if not any(blob is other for other in bottom):
            blob.release()


def register(cls):
    """Class decorator: the class's name is the prototxt `type`; a second of that name raises."""
    if cls.__name__ in TYPES:
        raise ValueError(f'layer type {cls.__name__} is registered twice')
    TYPES[cls.__name__] = cls
    return cls


def layer_type_list():
    """The layer types that a prototxt may name, sorted."""
    return sorted(TYPES)


def create_layer(layer_param, phase):
    """Make the layer that `layer_param` (a LayerParameter) names.

    Raises CaffeError that lists the known types.
    """
    if layer_param.type not in TYPES:
        raise CaffeError(f'unknown layer type {layer_param.type!r}; '
                         f'known types: {", ".join(layer_type_list())}')
    return TYPES[layer_param.type](layer_param, phase)
