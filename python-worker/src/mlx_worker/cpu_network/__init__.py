"""What MLX's build for Linux CPUs is slow at, computed another way with the same result."""
