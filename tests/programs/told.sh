#!/bin/sh
# Tells what a shell script is told: its arguments, some meta-variables, its directory, its input.
printf 'Content-Type: text/plain\nX-Twice: one\nX-Twice: two\n\n'
for word in "$@"; do
    echo "argument $word"
done
for name in GATEWAY_INTERFACE SERVER_PROTOCOL REQUEST_METHOD REQUEST_URI SCRIPT_NAME SCRIPT_FILENAME PATH_INFO \
    QUERY_STRING CONTENT_TYPE REMOTE_ADDR HTTP_HOST HTTP_COOKIE HTTP_AUTHORIZATION HTTP_X_ASKED HTTP_PROXY GREETING; do
    eval "echo \"$name=\$$name\""
done
echo "directory ${PWD##*/}"
cat
