"""Layer, pycaffe's interface; TensorLayer, the base of the built-in types; the table TYPES."""

import torch
from torch.autograd.graph import get_gradient_edge

from .blob import Blob
from .errors import CaffeError
from .filler import fill
from .gradient import start_gradient
from .proto.caffe_pb2 import LayerParameter

TYPES = {}      # prototxt type -> subclass of Layer
ALL = range(1 << 16)    # as `no_gradient`: every bottom


class BlobVec(list):
    """A layer's parameters; `add_blob(*shape)` appends a new one, as in pycaffe."""

    def add_blob(self, *shape):
        self.append(Blob(shape))


class Layer:
    """What a net requires of a layer. Users' `type: "Python"` layers derive from it directly.

    `setup(bottom, top)` is called once, `reshape(bottom, top)` before each forward, then
    `forward(bottom, top)` and `backward(top, propagate_down, bottom)`; bottom and top are sequences
    of Blob. `blobs` holds the parameters, `phase` is caffe.TRAIN or caffe.TEST.
    """

    bottom_count = (0, None)    # minimum and maximum number of bottoms; None for no maximum
    top_count = (0, None)
    no_gradient = ()            # indices of bottoms that never get a gradient, or ALL
    repeatable = False          # the tops depend only on bottoms, parameters and prototxt
    learns = True               # False if its parameters are statistics that no solver changes
    is_loss = False             # its first top has loss_weight 1 by default; its name is optional

    def __init__(self, layer_param, phase):
        self.layer_param = layer_param
        self.phase = phase
        self.type = layer_param.type
        self.blobs = BlobVec()
        self.needs_backward = False         # the net sets these four
        self.propagate_down = []            # one flag per bottom
        self.param_propagate_down = []      # one flag per parameter
        self.loss_weights = []              # one weight per top

    @staticmethod
    def parameters(layer_param):
        """Return the names of the parameter blobs of a layer with this LayerParameter, in order."""
        return []

    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        pass

    def skip(self, batches):
        """Continue as if `batches` forwards had been run; layers that read data override this."""

    def forward(self, bottom, top):
        pass

    def backward(self, top, propagate_down, bottom):
        pass


class TensorLayer(Layer):
    """A layer defined by two methods on tensors, `shape` and `compute`.

    While gradients are recorded (torch.is_grad_enabled), each layer's `compute` runs on its own
    leaves, and `backward` gets their gradients from autograd. So every diff between two layers can
    be read and written, as in Caffe.
    """

    bottom_count = (1, 1)
    top_count = (1, 1)
    _leaves = {}        # index -> the parameter's leaf, while `compute` is recorded
    _record = None      # edges of bottoms, leaves of parameters, edges of results, as recorded

    def shape(self, *bottom):
        """Return one shape per top, given the bottoms' shapes; by default the first bottom's."""
        return [bottom[0]] * self.num_top

    def compute(self, *bottom):
        """Return the top's tensor, or a tuple with one per top, given the bottoms' tensors."""
        raise NotImplementedError

    def weight(self, index):
        """The tensor of parameter `index`."""
        leaf = self._leaves.get(index % len(self.blobs))
        return self.blobs[index].tensor if leaf is None else leaf

    def add_blobs(self, **blobs):
        """Create the blobs that `parameters` names.

        Parameters
        ----------
        blobs : name -> (shape, FillerParameter)
            For at least those names.
        """
        for name in self.parameters(self.layer_param):
            shape, filler = blobs[name]
            self.blobs.add_blob(*shape)
            fill(self.blobs[-1], filler)

    def axis(self, index, ndim):
        """Return a prototxt's axis as 0 .. ndim - 1; a negative one counts from the end."""
        if not -ndim <= index < ndim:
            raise CaffeError(f'axis {index} is out of range for a blob of {ndim} axes')
        return index % ndim

    def reshape(self, bottom, top):
        self.num_top = len(top)
        for blob, shape in zip(top, self.shape(*(blob.shape for blob in bottom)), strict=True):
            blob.reshape(*shape)

    def forward(self, bottom, top):
        self._record = None     # first, so that its memory can be reused
        if torch.is_grad_enabled() and self.needs_backward:
            results = self._compute_recorded(bottom, top)
        else:
            tensors = [blob.tensor for blob in bottom]
            release(top, bottom)
            results = as_tuple(self.compute(*tensors))
        for blob, value in zip(top, results, strict=True):
            blob.tensor = value.detach()

    def _compute_recorded(self, bottom, top):
        inputs, tensors = {}, []
        for i, blob in enumerate(bottom):
            tensor = blob.tensor.detach()
            if blob.data_is_held and any(blob is other for other in top):
                tensor = tensor.clone()     # the result will overwrite the original
            if self.propagate_down[i]:
                tensor = start_gradient(tensor)
                inputs[i] = get_gradient_edge(tensor)
            tensors.append(tensor)
        release(top, bottom)
        self._leaves = {i: blob.tensor.detach().requires_grad_()
                        for i, blob in enumerate(self.blobs) if self.param_propagate_down[i]}
        weights = self._leaves
        try:
            results = as_tuple(self.compute(*tensors))
        finally:
            self._leaves = {}
        # edges instead of tensors, so that tensors that autograd does not need can be freed
        self._record = inputs, weights, [
            get_gradient_edge(result) if result.requires_grad else None for result in results]
        return results

    def backward(self, top, propagate_down, bottom):
        if not any(self.propagate_down) and not any(self.param_propagate_down):
            return
        if self._record is None:
            self._record_now(top, bottom)
        inputs, weights, results = self._record
        pairs = [(result, blob.diff_tensor) for result, blob in zip(results, top, strict=True)
                 if result is not None and blob.has_diff]
        leaves = [*inputs.values(), *weights.values()]
        gradients = [None] * len(leaves)
        if pairs:
            outputs, diffs = zip(*pairs, strict=True)
            gradients = torch.autograd.grad(outputs, leaves, diffs, retain_graph=True,
                                            allow_unused=True)
        for index, gradient in zip(inputs, gradients, strict=False):    # gradients of inputs first
            if gradient is None:
                bottom[index].clear_diff()
            else:
                bottom[index].diff_tensor = gradient
        for index, gradient in zip(weights, gradients[len(inputs):], strict=True):
            if gradient is not None:
                self.blobs[index].add_diff(gradient)

    def _record_now(self, top, bottom):
        # the last forward was not recorded, or there was none
        if any(blob is other for blob in top for other in bottom):
            raise CaffeError('works in place, so backward needs a recorded forward before it')
        with torch.enable_grad():
            self._compute_recorded(bottom, ())


def as_tuple(result):
    """Return the result of `compute` as a tuple with one tensor per top."""
    return result if isinstance(result, tuple) else (result,)


def release(top, bottom):
    """Drop the tops' old values, unless the layer works in place and reads them.

    Their memory can then be reused for the new values, which avoids page faults and a second copy.
    """
    for blob in top:
        if not any(blob is other for other in bottom):
            blob.release()


def register(cls):
    """Register a class as the prototxt `type` of its name; ValueError if the name is taken."""
    if cls.__name__ in TYPES:
        raise ValueError(f'layer type {cls.__name__} is registered twice')
    TYPES[cls.__name__] = cls
    return cls


def layer_type_list():
    """Return the names of all registered layer types, sorted."""
    return sorted(TYPES)


def create_layer(layer_param, phase):
    """Create the layer of a LayerParameter.

    Raises CaffeError if its type is unknown; the message lists the known types.
    """
    return _find_type(layer_param)(layer_param, phase)


def param_count(layer_param: LayerParameter) -> int:
    """Count the parameter blobs of a layer without building its net.

    For a Python layer, only those that its class names in `parameters` are counted, not those that
    it adds in its `setup`.

    Parameters
    ----------
    layer_param : LayerParameter
        A layer of an upgraded net, with its bottoms.

    Returns
    -------
    int
        `len(net.layer_dict[name].blobs)` of a net with this layer.

    Raises
    ------
    CaffeError
        If the layer's type is unknown; the message lists the known types.
    """
    return len(_find_type(layer_param).parameters(layer_param))


def _find_type(layer_param):
    if layer_param.type not in TYPES:
        raise CaffeError(f'unknown layer type {layer_param.type!r}; '
                         f'known types: {", ".join(layer_type_list())}')
    return TYPES[layer_param.type]
