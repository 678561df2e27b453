"""Weights of other projects become a prototxt, a caffemodel and its json.

    made = import_resnet('resnet50.pth', head='gem')
    made.save('caffemodel/resnet50_gem.caffemodel', S=800)

- resnet: ResNets and ResNeXts of torchvision and timm, and the trunk of most others
- naver, cirtorch, sscd: networks for retrieval and copy detection, with what they learned after
  the trunk
- onnx_graph, onnx_geometry: ONNX graphs of convolutional nets
- heads: from the last map to a descriptor
- reading, unpickling: checkpoints, read without running code that is in them
- imported, frameworks: the result, its files, and its difference from the source's own framework

All nets take B, G, R from 0 to 255 less the json's mean. The division by the deviations and the
order R, G, B are in the first convolution. The mean is not, because the zeros that pad the image
stand for it.
"""

from .cirtorch import import_cirtorch
from .naver import import_naver
from .onnx_graph import import_onnx
from .resnet import import_resnet
from .sscd import import_sscd
