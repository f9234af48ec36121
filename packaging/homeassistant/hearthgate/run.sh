#!/usr/bin/with-contenv bashio
# Settings of the app become keys; a hearthgate.toml in the app's configuration folder wins over nothing but the defaults.
set -e
export HEARTHGATE__GATEWAY__STATE_DIR=/data/state
export HEARTHGATE__DATABASE__URL=sqlite:/data/state/hearthgate.db
export HEARTHGATE__LOG__LEVEL="$(bashio::config 'log_level')"
export HEARTHGATE__HOMEASSISTANT__ENABLED=true
if bashio::services.available mqtt; then
    export HEARTHGATE__MQTT__SERVER="mqtt://$(bashio::services mqtt host):$(bashio::services mqtt port)"
    export HEARTHGATE__MQTT__USERNAME="$(bashio::services mqtt username)"
    export HEARTHGATE__MQTT__PASSWORD="$(bashio::services mqtt password)"
fi
if [ -f /config/hearthgate.toml ]; then
    exec hearthgate -c /config/hearthgate.toml run
fi
exec hearthgate run
