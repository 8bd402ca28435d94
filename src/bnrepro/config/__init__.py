"""What a run is: its schema, how it is composed, what is refused, and what makes it the run it is. No torch."""
