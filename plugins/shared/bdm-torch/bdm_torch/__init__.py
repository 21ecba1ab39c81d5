"""What kits of every task share: tensors, images, training, calibration. It knows no task."""
