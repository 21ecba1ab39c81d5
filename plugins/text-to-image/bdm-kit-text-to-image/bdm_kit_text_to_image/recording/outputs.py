"""The recorder of module outputs, which is :mod:`bdm_torch.recording`, by the name that it has in this kit."""

from bdm_torch.recording import OutputRecorder as OutputRecorder
from bdm_torch.recording import is_leaf_with_weights as is_leaf_with_weights
from bdm_torch.recording import record_outputs as record_outputs
from bdm_torch.recording import scale_modules as scale_modules
from bdm_torch.recording import spatial_mean as spatial_mean
