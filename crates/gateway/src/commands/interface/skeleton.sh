#!/bin/sh
# The device interface @NAME@ of Hearthgate: one JSON object a line on standard input and output.
# A shell is enough for a device with a few fixed commands; for anything richer use another language.
set -u

field() { # field NAME: the text of that key in $line (plain texts only)
    printf '%s\n' "$line" | sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"
}

while IFS= read -r line; do
    case $line in
    *'"type":"ping"'*)
        id=$(printf '%s\n' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
        printf '{"type":"pong","id":%s}\n' "$id"
        ;;
    *'"type":"hello"'*)
        printf '{"type":"ready"}\n'
        ;;
    *'"type":"stop"'*)
        exit 0
        ;;
    *'"type":"message"'*'"iscmd":true'*)
        action=$(field action)
        location=$(field location)
        case $action in
        LIGHT_ON | LIGHT_OFF)
            # Here the device is switched; then its state is told.
            printf '{"type":"message","message":{"iscmd":false,"function":"Lighting","location":"%s","action":"%s"}}\n' \
                "$location" "$action"
            ;;
        *)
            printf '{"type":"log","level":"warn","text":"unknown action %s"}\n' "$action"
            ;;
        esac
        ;;
    esac
done
