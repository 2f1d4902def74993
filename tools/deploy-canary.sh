#!/bin/sh
# Starts a canary: --percentage NUM, --duration HOURS, --stages LIST, --dry-run, --force. See docs/canary.md.
root="$(cd "$(dirname "$0")/.." && pwd)"
exec "$root/tools/mlx-serving.sh" canary deploy --config "${MLX_SERVING_CONFIG_DIR:-$root/config}/canary.yaml" "$@"
