#!/bin/sh
# Shows the canary's health: --duration SECONDS, --output FILE. See docs/canary.md.
exec "$(dirname "$0")/mlx-serving.sh" canary monitor "$@"
