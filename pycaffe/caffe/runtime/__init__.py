"""Run a net: connect its layers, fuse them, and run them forward and backward.

wiring        creates the layers of a prototxt and connects their blobs
propagation   decides which layers, bottoms and parameters get gradients
execution     runs the layers forward and backward
fusion        runs chains of layers as one operation
trunk         drops the activations of the frozen layers, or takes them from a cache
"""
