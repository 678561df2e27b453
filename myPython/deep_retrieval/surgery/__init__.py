"""Nets as data: read, inspected, changed, imported and exported.

- nets: read, write and build nets and weights; compare, strip and freeze layers
- clip: fewer outputs of a projection
- fold: BatchNorm and Scale folded into convolutions
- branches: three copies of a net, the teacher and the triplet
- report: shapes, and statistics of parameters and blobs
- pca_layers: centring and projection fitted to images
- demo_weights: weights to try the toolkit with
- torch_import, lite_import: PyTorch's weights for a net that is there already
- importing: weights of other projects as nets of their own
- onnx_export: to ONNX
- lite_weights, lite_heads: EfficientNet-Lite with a learned head
- tools: the subcommands of model_tools.py
"""
