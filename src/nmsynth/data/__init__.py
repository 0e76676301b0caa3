"""Training data: cases, splits, simulation, patches, augmentation."""
