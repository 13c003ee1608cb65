"""Test faces cut again at other scales and places, and what a fitted probe says of them."""
