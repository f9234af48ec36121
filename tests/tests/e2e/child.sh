# A device interface of kind exec for the tests. Each message's action comes back as that of a status; some do more.
say() { printf '{"type":"message","message":{"function":"%s","action":"%s"}}\n' "$1" "$2"; }
if [ -e broken ]; then echo "the device is broken" >&2; exit 1; fi
echo $$ > child.pid
while IFS= read -r line; do
  case $line in
    '{"type":"hello"'*) echo '{"type":"ready"}' ;;
    '{"type":"ping"'*) id=${line#*'"id":'}; echo "{\"type\":\"pong\",\"id\":${id%\}}}" ;;
    '{"type":"message"'*)
      action=${line#*'"action":"'}
      action=${action%%'"'*}
      case $action in
        OPEN) say f OPEN; echo opened >&2 ;;
        EXIT) exit 1 ;;
        HANG) sleep 1000 ;;
        PAUSE) say f PAUSED; while [ ! -e go ]; do sleep 0.02; done ;;
        FLOOD) awk 'BEGIN { for (i = 1; i <= 100000; i++)
                 print "{\"type\":\"message\",\"message\":{\"function\":\"flood\",\"action\":\"L" i "\"}}" }' ;;
        SPECIAL) echo '{"type":"message","message":{"action":"HERE"},"topic":"somewhere/else","qos":2,"retain":true}' ;;
        *) say f "$action" ;;
      esac ;;
    '{"type":"stop"'*) exit 0 ;;
  esac
done
