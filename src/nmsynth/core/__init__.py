"""What everything else stands on: volumes, units, geometry, SUV, errors, configuration. No torch."""
