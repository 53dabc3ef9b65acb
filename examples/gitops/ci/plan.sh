#!/bin/sh
# Prints what the operator would change for each folder, as Markdown for a comment on a pull request.
#
#     plan.sh FOLDER...
#
# Exit code 0: every folder has a plan, and the comment says what changes. 1: at least one object has no plan.
# It needs the bucketconnection binary, a kubeconfig, and credentials for AWS that can read.
set -u
failed=0
messages=$(mktemp)
trap 'rm -f "$messages"' EXIT
for folder in "$@"; do
    printf '### `%s`\n\n' "$folder"
    bucketconnection plan -f "$folder" -o markdown 2>"$messages"
    code=$?
    [ "$code" = 0 ] || [ "$code" = 2 ] || failed=1
    # Indented, so that nothing in a message ends the block.
    if [ -s "$messages" ]; then
        printf '\n'
        sed 's/^/    /' "$messages"
    fi
    printf '\n'
done
exit "$failed"
