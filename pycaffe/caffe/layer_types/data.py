"""Where a net's data comes from."""

from ..errors import CaffeError
from ..layer import TensorLayer, register


@register
class Input(TensorLayer):
    """Tops of given shapes that the user fills: one shape for all of them, or one each."""
    bottom_count = (0, 0)
    top_count = (1, None)

    def setup(self, bottom, top):
        shapes = [tuple(shape.dim) for shape in self.layer_param.input_param.shape]
        if shapes and len(shapes) not in (1, len(top)):
            raise CaffeError(f'{len(top)} tops need 1 or {len(top)} shapes, not {len(shapes)}')
        for blob, shape in zip(top, shapes * len(top) if len(shapes) == 1 else shapes):
            blob.reshape(*shape)

    def reshape(self, bottom, top):
        pass        # the user's own reshape stands

    def forward(self, bottom, top):
        pass
