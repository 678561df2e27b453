"""The built-in layer types by family; importing a family registers its types."""

from . import (
               accuracy,
               activation,
               common,
               data,
               hdf5,
               loss,
               metric_loss,
               normalization,
               pooling,
               python,
               recurrent,
               roi_pooling,
               scale,
               selection,
               stored_data,
               utility,
               vision,
)
