"""MLX inference over gRPC with continuous batching."""

__version__ = "0.1.0"
