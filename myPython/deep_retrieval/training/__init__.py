"""What custom_layers.py is made of: the classes that prototxts name stand there, their work here.

base.py reads and checks parameters, class_folders.py draws images of classes and reads them ahead,
class_data.py feeds them to a net, pair_losses.py is the maths of the two losses over pairs.
"""
