"""Training: the nets' Python layers, solvers, and distilling.

- layer_parameters: read and check the parameters of Python layers
- class_folders: draw images from class folders, with prefetching
- class_data: data layers that feed them to a net
- pair_losses, gem: the maths of the pair losses and of GeM pooling
- settings: read prototxts, and change their fields
- solving: run a training, from prepared files to the last snapshot
- training_log: read and plot loss and learning rate
- trunk_cache: cache the results of a frozen trunk for each image
- teacher: descriptors of a teacher, for students to learn
- student_data: the files that a student reads

custom_layers.py at the top level has the classes that prototxts name.
"""
