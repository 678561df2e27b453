"""Make datasets from folders, archives, downloads and videos."""
