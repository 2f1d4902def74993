"""The only thread that touches MLX, and what passes in and out of it."""
