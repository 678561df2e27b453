"""Caffe's message types: `from caffe.proto import caffe_pb2`."""
