"""Tasks: what goes in and comes out, whom it is shown on, and by which numbers it is judged."""
