"""Commands with the names and flags of Caffe's tools."""
