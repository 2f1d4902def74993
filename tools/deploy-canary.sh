#!/bin/sh
# Starts a canary: --percentage NUM, --duration HOURS, --stages LIST, --dry-run, --force. See docs/canary.md.
exec "$(dirname "$0")/mlx-serving.sh" canary deploy "$@"
