//! Brokers, listeners and who may use them.

use crate::Mistake;

/// Nothing else listens.
const REST_OFF: &str = "[http]\nenabled = false\n[database]\nenabled = false\n[flows]\nenabled = false\n";

/// As `hearthgate broker passwd garden` prints it, with these lists.
fn garden(lists: &str) -> String {
    format!(
        "[broker]\nlisten = \"127.0.0.1:0\"\n[broker.users.garden]\n\
         password = \"$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$OqPSI7GAn1cTi2JaJUSbnCIFSWLiDPGBXjLMZNO2u4U\"\n\
         {lists}\n[http]\nenabled = false\n"
    )
}

pub(crate) fn mistakes() -> Vec<Mistake> {
    let refused = Mistake::refused;
    let taken = |key: &str| format!("[{key}]\nlisten = \"127.0.0.1:TAKEN\"\n");
    vec![
        refused("a broker by HTTP", "hearthgate.toml:2", "[mqtt]\nserver = \"http://broker.lan\"\n"),
        refused("a broker without a scheme", "hearthgate.toml:2", "[mqtt]\nserver = \"broker.lan:1883\"\n"),
        refused(
            "a user in the broker's URL",
            "hearthgate.toml:2",
            "[mqtt]\nserver = \"mqtt://me:hunter2@broker.lan\"\n",
        ),
        refused(
            "a password without a user",
            "hearthgate.toml:3",
            "[mqtt]\nserver = \"mqtt://broker.lan\"\npassword = \"a\"\n",
        ),
        refused("the embedded broker is off", "hearthgate.toml:2", "[broker]\nenabled = false\n"),
        refused("a listener without a port", "hearthgate.toml:2", "[broker]\nlisten = \"0.0.0.0\"\n"),
        refused("a listener on a name", "hearthgate.toml:2", "[broker]\nlisten = \"broker.lan:1883\"\n"),
        refused("a broker for everybody", "hearthgate.toml:2", "[broker]\nlisten = \"0.0.0.0:1883\"\n"),
        refused("nobody may connect", "hearthgate.toml:2", "[broker]\nallow_anonymous = false\n"),
        refused("a page for everybody", "hearthgate.toml:2", "[http]\nlisten = \"0.0.0.0:8787\"\n"),
        refused("a frame of no origin", "hearthgate.toml:2", "[http]\nframe_ancestors = [\"panel.lan\"]\n"),
        refused("a user without a password", "hearthgate.toml:1", "[broker.users.garden]\npublish = [\"garden/#\"]\n"),
        refused("a user with a plain password", "hearthgate.toml:2", "[broker.users.garden]\npassword = \"hunter2\"\n"),
        refused("a misspelt list of topics", "hearthgate.toml:5", &garden("pubish = [\"garden/#\"]")),
        refused("a list that is one topic", "hearthgate.toml:5", &garden("publish = \"garden/#\"")),
        refused("a list with what is no filter", "hearthgate.toml:5", &garden("publish = [\"garden/#/soil\"]")),
        refused("a filter with a wildcard in a level", "hearthgate.toml:5", &garden("forbidden = [\"garden/bed+\"]")),
        refused(
            "two listeners at one address",
            "hearthgate.toml:4",
            "[broker]\nlisten = \"127.0.0.1:1883\"\n[http]\nlisten = \"127.0.0.1:1883\"\n",
        ),
        refused(
            "a listener within another one",
            "hearthgate.toml:5",
            "[broker]\nlisten = \"0.0.0.0:1883\"\nallow_anonymous = false\n[http]\nlisten = \"127.0.0.1:1883\"\n[broker.users.a]\npassword = \"$argon2id$\"\n",
        ),
        refused("the broker's port is in use", "hearthgate.toml:2", &(taken("broker") + REST_OFF))
            .by(&["check", "run"]),
        refused(
            "the page's port is in use",
            "hearthgate.toml:2",
            &(taken("http")
                + "[broker]\nlisten = \"127.0.0.1:0\"\n[database]\nenabled = false\n[flows]\nenabled = false\n"),
        )
        .by(&["check", "run"]),
        refused(
            "a group without MQTT 5",
            "hearthgate.toml:5",
            "[gateway]\nname = \"attic\"\n[mqtt]\nserver = \"mqtt://broker.lan\"\ngroup = \"home\"\n[database]\nurl = \"mysql://me@db/home\"\n",
        ),
        refused(
            "a flow's database that is off",
            "hearthgate.toml:2",
            "[database]\nenabled = false\n[mqtt]\nserver = \"database\"\n",
        ),
        refused(
            "discovery without MQTT",
            "hearthgate.toml:4",
            "[mqtt]\nenabled = false\n[homeassistant]\nenabled = true\n",
        ),
        refused("a prefix with a wildcard", "hearthgate.toml:2", "[mqtt]\nstatus_prefix = \"home/#\"\n"),
        refused("endpoints that are never tried", "hearthgate.toml:2", "[endpoints]\nretry = []\n"),
        refused("a URL among the hosts", "hearthgate.toml:2", "[endpoints]\nallow_hosts = [\"https://example.org\"]\n"),
    ]
}
