#!/bin/sh
# The command mlx-serving from source, by the project's own Node where there is one.
root="$(cd "$(dirname "$0")/.." && pwd)"
PATH="$root/node_modules/.bin:$PATH"
exec node --conditions=@mlx-serving/source --disable-warning=ExperimentalWarning "$root/apps/cli/src/main.ts" "$@"
