"""Training: what the nets' Python layers compute and read, solvers, and distilling.

- layer_parameters: parameters of Python layers, read and checked
- class_folders: images drawn from folders of classes, read ahead
- class_data: data layers that feed them to a net
- pair_losses, gem: maths of the losses over pairs, and of GeM pooling
- settings: prototxts read, and changed by settings
- solving: a training, from prepared files to its last snapshot
- training_log: loss and learning rate of a log, read and drawn
- trunk_cache: the results of a frozen trunk, kept for each image
- teacher: descriptors of a teacher, which students learn
- student_data: the files that a student reads

custom_layers.py at the top level has the classes that prototxts name.
"""
