"""What needs torch and the report: reproduce everything, verify committed tables, restore runs from them."""
