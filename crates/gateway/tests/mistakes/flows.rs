//! Flows: in their file, and in the database.

use crate::Mistake;

const CONFIGURATION: &str =
    "[broker]\nlisten = \"127.0.0.1:0\"\n[http]\nenabled = false\n[endpoints]\nallow_hosts = [\"127.0.0.1\"]\n";
const GOOD: &str = "[[flow]]\ncode = \"GARDEN\"\ntopic = \"garden/{bed}/soil\"\naction = \"STORE_DB\"\nschema = { moisture = \"float\" }\n";

/// A mistake in a file of flows.
fn file(name: &'static str, place: &'static str, text: &str) -> Mistake {
    let configured = Mistake::refused(name, place, CONFIGURATION).with("flows.toml", text);
    configured.by(&["flow import flows.toml"])
}

/// A flow that posts, with a mistake in its options.
fn posting(name: &'static str, place: &'static str, url: &str, options: &str) -> Mistake {
    let flow = format!(
        "[[flow]]\ncode = \"HOOK\"\ntopic = \"garden/+/soil\"\naction = \"POST_ENDPOINT\"\nendpoint_url = \"{url}\"\n\
         schema = {{ moisture = \"float\" }}\n[flow.options]\n{options}\n"
    );
    file(name, place, &flow)
}

/// One that the flow is let in with, and that `check` tells.
fn missing(name: &'static str, options: &str) -> Mistake {
    stored(posting(name, "flow HOOK", "http://127.0.0.1:TAKEN/", options))
}

/// It is told of by `check` once it is in the database.
fn stored(mistake: Mistake) -> Mistake {
    Mistake { before: vec!["flow import flows.toml"], commands: vec!["check"], ..mistake }
}

pub(crate) fn mistakes() -> Vec<Mistake> {
    let changed = |from: &str, to: &str| GOOD.replace(from, to);
    vec![
        file("a file of flows that is no TOML", "flows.toml", "[[flow]]\ncode = GARDEN\n"),
        file("a misspelt key of a flow", "flows.toml", &changed("topic", "topci")),
        file("a flow without a topic", "flows.toml", &changed("topic = \"garden/{bed}/soil\"\n", "")),
        file("a flow twice", "flows.toml", &GOOD.repeat(2)),
        file("a misspelt action", "flows.toml", &changed("STORE_DB", "STORE")),
        file("what is no filter", "flows.toml", &changed("garden/{bed}/soil", "garden/#/soil")),
        file("a wildcard within a level", "flows.toml", &changed("garden/{bed}/soil", "garden/bed+/soil")),
        file("a schema with an unknown type", "flows.toml", &changed("\"float\"", "\"flaot\"")),
        file("a schema that is no JSON", "flows.toml", &changed("{ moisture = \"float\" }", "'{\"moisture\": float}'")),
        file("a misspelt option", "flows.toml", &(GOOD.to_owned() + "[flow.options]\nretnetion = \"90d\"\n")),
        file("a retention without a unit", "flows.toml", &(GOOD.to_owned() + "[flow.options]\nretention = \"90\"\n")),
        file(
            "a flow that publishes to itself",
            "flows.toml",
            &(GOOD.to_owned() + "[flow.options]\nactions = [{ type = \"PUBLISH\", topic = \"garden/1/soil\" }]\n"),
        ),
        posting("a call without a URL", "flows.toml", "", ""),
        posting("a URL of another kind", "flows.toml", "mqtt://127.0.0.1/", ""),
        posting(
            "a template without its end",
            "flows.toml",
            "http://127.0.0.1/",
            "body_template = '{\"m\": {{ payload.moisture }'",
        ),
        posting("a secret in the open", "flows.toml", "http://127.0.0.1/", "auth = { bearer = \"hunter2\" }"),
        posting("a time without a unit", "flows.toml", "http://127.0.0.1/", "timeout = \"5\""),
        missing("a secret that is not there", "auth = { bearer = \"file:hook\" }"),
        missing("a secret of somebody else", "auth = { bearer = \"file:/etc/hostname\" }"),
        missing("a variable that is not set", "auth = { bearer = \"env:HEARTHGATE_SECRET_HOOK\" }"),
        missing("a variable of somebody else", "auth = { bearer = \"env:PATH\" }"),
        stored(posting("a host that is not allowed", "flow HOOK", "http://127.0.0.2/", "")),
        stored(file("a filter with a blank at its end", "flow GARDEN", &changed("/soil", "/soil "))),
    ]
}
