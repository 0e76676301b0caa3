"""From a model and a volume to a synthesis."""
