"""What needs both sides of the wall: reproduce everything, verify committed tables, restore runs from them."""
