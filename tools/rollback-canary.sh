#!/bin/sh
# Takes the canary back: --force, --gradual. See docs/canary.md.
exec "$(dirname "$0")/mlx-serving.sh" canary rollback "$@"
