#!/bin/sh
# Notifies user 42 from the shell. PREGON names the binary, if it is not on the PATH.
set -eu
"${PREGON:-pregon}" notify --to u/42/ --via tcp://127.0.0.1:5556 --push '{"text":"The backup is done"}'
