#!/bin/sh
# Watches the canary: --duration MINUTES, --output FILE or FILE.json. See docs/canary.md.
exec "$(dirname "$0")/mlx-serving.sh" canary monitor "$@"
