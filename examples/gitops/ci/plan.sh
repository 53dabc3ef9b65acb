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
    plan=$(bucketconnection plan -f "$folder" 2>"$messages")
    case $? in
        0) state='no changes' ;;
        2) state='**changes**' ;;
        *) state='**failed**' failed=1 ;;
    esac
    # Indented, so that nothing in a plan ends the block.
    printf '### `%s`: %s\n\n%s\n%s\n\n' "$folder" "$state" "$(cat "$messages")" "$plan" | sed '2,$s/^/    /'
done
exit "$failed"
