"""How a net is run: its layers connected, ordered, fused, and run forward and backward.

wiring        makes the layers of a prototxt and connects their blobs
propagation   decides which layers, bottoms and parameters get gradients
execution     runs the layers forward and backward
fusion        runs chains of layers as one operation
trunk         drops the activations of layers below everything that learns, or asks a cache
"""
