"""Statistics that analyses share: pure functions over counts and sums, nothing drawn at random unless handed in."""
