//! Device interfaces and their maps.

use crate::Mistake;

const REST_OFF: &str = "[broker]\nlisten = \"127.0.0.1:0\"\n[http]\nenabled = false\n[flows]\nenabled = false\n";

fn interface(lines: &str) -> String {
    format!("[interfaces.gate]\n{lines}\n{REST_OFF}")
}

/// A mistake in a map.
fn map(name: &'static str, place: &'static str, text: &str) -> Mistake {
    Mistake::refused(name, place, &interface("kind = \"dummy\"\nmap = \"gate.json\"")).with("gate.json", text)
}

pub(crate) fn mistakes() -> Vec<Mistake> {
    let refused = |name, place, lines: &str| Mistake::refused(name, place, &interface(lines));
    let told = |name, place, lines: &str| Mistake::told(name, place, &interface(lines));
    vec![
        refused("an interface without a kind", "hearthgate.toml:1", "root = \"home\""),
        refused("an interface of an unknown kind", "hearthgate.toml:2", "kind = \"serail\""),
        refused("a misspelt option", "hearthgate.toml:3", "kind = \"dummy\"\ntopcis = [\"home/#\"]"),
        refused("a QoS that MQTT does not have", "hearthgate.toml:4", "kind = \"dummy\"\nroot = \"home\"\nqos = 3"),
        refused("an interface without a map, and without topics", "hearthgate.toml:1", "kind = \"dummy\""),
        refused("what is no filter", "hearthgate.toml:4", "kind = \"dummy\"\nroot = \"home\"\ntopics = [\"home/#/C\"]"),
        refused("an age without a unit", "hearthgate.toml:3", "kind = \"dummy\"\nmax_command_age = 5"),
        Mistake::refused("the name of a component", "hearthgate.toml:1", "[interfaces.mapper]\nkind = \"dummy\"\n"),
        told(
            "a program that is not there",
            "hearthgate.toml:1",
            "kind = \"exec\"\nroot = \"home\"\ntopics = [\"home/#\"]\ncommand = [\"pyhton3\", \"gate.py\"]",
        ),
        refused(
            "a command that is a text",
            "hearthgate.toml:5",
            "kind = \"exec\"\nroot = \"home\"\ntopics = [\"home/#\"]\ncommand = \"python3 gate.py\"",
        ),
        told(
            "a device that is not plugged in",
            "hearthgate.toml:1",
            "kind = \"serial\"\nroot = \"home\"\ntopics = [\"home/#\"]\nport = \"/dev/ttyUSB99\"\nbaud = 9600\nframe = { delimiter = \"\\n\" }",
        ),
        refused(
            "an address without a port",
            "hearthgate.toml:5",
            "kind = \"tcp\"\nroot = \"home\"\ntopics = [\"home/#\"]\naddress = \"192.168.1.20\"\nframe = { delimiter = \"\\n\" }",
        ),
        refused("a map that is not there", "gate.json", "kind = \"dummy\"\nmap = \"gate.json\""),
        map("a map that is no JSON", "gate.json", "{\n  \"root\": \"home\",\n  \"topics\": [\"home/#\",]\n}\n"),
        map(
            "a misspelt keyword of a map",
            "gate.json",
            "{\n  \"root\": \"home\",\n  \"topics\": [\"home/#\"],\n  \"actoin\": {\"maptype\": \"none\"}\n}\n",
        ),
        map("a map without topics", "gate.json", "{\n  \"root\": \"home\"\n}\n"),
        map(
            "a map with an unknown rule",
            "gate.json",
            "{\n  \"root\": \"home\",\n  \"topics\": [\"home/#\"],\n  \"action\": {\"maptype\": \"lose\"}\n}\n",
        ),
        map(
            "one word for two",
            "gate.json",
            "{\n  \"root\": \"home\",\n  \"topics\": [\"home/#\"],\n  \"action\": {\"maptype\": \"strict\", \"map\": {\n    \"OPEN\": [\"open\"],\n    \"SHUT\": [\"open\"]\n  }}\n}\n",
        ),
        map(
            "a map of the older form",
            "gate.json",
            "{\n  \"root\": \"home\",\n  \"topics\": [\"home/#\"],\n  \"action\": {\"maptype\": \"strict\", \"map\": {\"open\": \"OPEN\"}}\n}\n",
        ),
    ]
}
