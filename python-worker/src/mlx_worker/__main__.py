"""`python -m mlx_worker`."""

from mlx_worker.main import main

if __name__ == "__main__":
    main()
