"""Nets as data: looked into, changed, imported, exported, and made ready to be trained.

surgery.py changes layers and weights, branches.py copies a net three times, report.py tells what a
net holds, torch_import.py and onnx_export.py lead in and out, training.py prepares a solver.
"""
