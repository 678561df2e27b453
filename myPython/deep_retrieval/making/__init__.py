"""Datasets made from folders, archives, downloads and videos."""
