"""What every application calls."""
