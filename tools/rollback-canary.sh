#!/bin/sh
# Takes the canary back: --force, --gradual, --move. See docs/canary.md.
root="$(cd "$(dirname "$0")/.." && pwd)"
exec "$root/tools/mlx-serving.sh" canary rollback --config "${MLX_SERVING_CONFIG_DIR:-$root/config}/canary.yaml" "$@"
