"""How near a prediction comes to a reference."""
